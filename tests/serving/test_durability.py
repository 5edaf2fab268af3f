"""Nothing is predicted unrecorded: the record is durable before the answer, or there is no answer."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.serving.client import PREDICTIONS, answer, ask, assert_problem, client_of, in_store, rows

REFUSE = "CREATE TRIGGER refuse BEFORE INSERT ON entries BEGIN SELECT RAISE(FAIL, 'refused'); END"


def test_every_answer_is_on_disk_when_it_arrives(client, home):
    for number in range(2, 12):
        given = answer(client)
        seq, entry_id, _, _, body, _ = rows(home)[-1]
        assert (seq, entry_id) == (number, given["audit"]["id"])
        assert json.loads(body)["prediction"] == given["prediction"]


def a_folder_in_its_place(home):
    (home / "audit.db").mkdir()
    return (home / "audit.db").rmdir


def something_else_in_its_place(home):
    (home / "audit.db").write_bytes(b"not a database" * 500)
    return (home / "audit.db").unlink


def another_table_of_its_name(home):
    in_store(home, "CREATE TABLE entries (seq INTEGER PRIMARY KEY, note TEXT)")
    return lambda: in_store(home, "DROP TABLE entries")


FAULTS = [a_folder_in_its_place, something_else_in_its_place, another_table_of_its_name]


@pytest.mark.parametrize("break_it", FAULTS)
def test_without_a_record_nothing_is_answered_and_the_store_recovers_without_a_restart(home, break_it):
    repair = break_it(home)
    with client_of(home) as client:
        for _ in range(2):
            response = ask(client)
            assert_problem(response, 503, "record-not-written")
            assert "survival" not in response.text
        repair()
        assert answer(client)["audit"]["seq"] == 2


def test_a_store_that_stops_writing_while_serving_answers_nothing_until_it_writes_again(client, home):
    first = answer(client)
    in_store(home, REFUSE)
    for _ in range(3):
        response = ask(client)
        assert_problem(response, 503, "record-not-written")
        assert "survival" not in response.text
    unread = client.get(f"{PREDICTIONS}/{first['audit']['id']}")
    assert_problem(unread, 503, "record-not-written")
    assert "survival" not in unread.text, "that it was read could not be recorded"
    in_store(home, "DROP TRIGGER refuse")
    assert answer(client)["audit"]["seq"] == 3
    assert [row[0] for row in rows(home)] == [2, 3]


def test_a_table_lost_while_serving_is_not_answered_around(client, home):
    answer(client)
    in_store(home, "ALTER TABLE entries RENAME TO elsewhere")
    assert_problem(ask(client), 503, "record-not-written")


@pytest.mark.slow
def test_a_store_locked_for_longer_than_5_seconds_answers_nothing(client, home):
    answer(client)
    with closing(sqlite3.connect(home / "audit.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert_problem(ask(client), 503, "record-not-written")
        other.execute("ROLLBACK")
    assert answer(client)["audit"]["seq"] == 3


def test_an_answer_is_on_record_after_the_file_was_removed_while_serving(client, home):
    answer(client)
    for file in home.glob("audit.db*"):
        file.unlink()
    response = ask(client)
    if response.status_code == 200:
        assert response.json()["audit"]["id"] in [row[1] for row in rows(home)]
    else:
        assert_problem(response, 503, "record-not-written")

"""Checkpoints: signed in a second place, each continuing the last; a record that does not is not added to."""

import logging
import re
import shutil
import sqlite3
import time
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from string import ascii_letters, digits

import pytest

from features.errors import RecordNotWritten
from serving.audit.checkpoint import CheckpointFile, sign
from serving.audit.checkpointer import Checkpointer
from serving.audit.merkle import Frontier, leaf_hash, root_of
from serving.audit.note import load_key
from serving.audit.sequencer import Sequencer
from serving.audit.sqlite import SqliteStore
from tests.serving.audit.drafts import draft

LEAVES = [leaf_hash(bytes([n])) for n in range(20)]


@pytest.fixture
def key(tmp_path: Path):
    return load_key(tmp_path / "key")


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    return CheckpointFile(tmp_path / "second" / "checkpoints")


class House:
    """A record with its checkpoints, opened and closed as a server does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "audit.db"
        self.file = CheckpointFile(folder / "checkpoints")

    def opened(self, *, seconds: float = 60, entries: int = 1000) -> Sequencer:
        store = SqliteStore(self.database)
        key = load_key(self.folder / "key")
        witness = Checkpointer(store, key, self.file, every_seconds=seconds, every_entries=entries)
        return Sequencer(store, witness=witness)

    def session(self, *ids: str) -> None:
        """Open, put something on record, close."""
        log = self.opened()
        for entry_id in ids:
            log.append_now(draft(entry_id))
        log.close()

    def sizes(self) -> list[int]:
        return [one.size if one else -1 for one in self.file.all()]

    def copy(self, name: str) -> Path:
        """Return a copy of the closed database."""
        return Path(shutil.copy(self.database, self.folder / name))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def soon(happened) -> bool:
    """Wait for something, at most ten seconds."""
    until = time.monotonic() + 10
    while not happened() and time.monotonic() < until:
        time.sleep(0.02)
    return happened()


def test_a_checkpoint_reads_as_c2sp_says(key):
    tree = Frontier().grown(LEAVES)
    lines = sign(tree, key).note.split("\n")
    assert lines[:4] == [key.name, "20", b64encode(root_of(LEAVES)).decode(), ""]
    assert lines[4].startswith(f"\u2014 {key.name} ")
    assert lines[5:] == [""]


def test_checkpoints_are_read_back_in_order(key, file):
    assert file.last() is None
    assert list(file.all()) == []
    made = [sign(Frontier().grown(LEAVES[:size]), key) for size in range(1, 20)]
    for one in made:
        file.append(one)
        assert file.last() == one
    assert list(file.all()) == made
    assert all(one.signed_by(key.public) for one in made)


def test_one_changed_character_of_a_note_is_found(key, file, tmp_path):
    file.append(sign(Frontier().grown(LEAVES), key))
    path = tmp_path / "second" / "checkpoints"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        found = list(file.all())
        assert len(found) != 1 or found[0] is None or not found[0].signed_by(key.public), at


def test_a_signature_is_written_in_one_way_only(key, file, tmp_path):
    file.append(sign(Frontier().grown(LEAVES), key))
    path = tmp_path / "second" / "checkpoints"
    start, last, end = re.fullmatch("(.*)(.)(=\n\n)", path.read_text(), re.DOTALL).groups()
    for other in set(ascii_letters + digits + "+/") - {last}:
        path.write_text(start + other + end)
        assert not file.last().signed_by(key.public), other


def test_a_note_cut_short_is_overwritten_and_nothing_else_is(key, file, tmp_path):
    first, second = (sign(Frontier().grown(LEAVES[:size]), key) for size in (3, 5))
    file.append(first)
    path = tmp_path / "second" / "checkpoints"
    whole = path.read_bytes()
    for cut in range(1, len(second.note)):
        path.write_bytes(whole + second.note.encode()[:cut])
        assert file.last() == first
    file.append(second)
    assert list(file.all()) == [first, second]


def test_what_holds_no_checkpoint_is_not_written_to(key, file, tmp_path):
    path = tmp_path / "second" / "checkpoints"
    path.parent.mkdir()
    path.write_bytes(b"x\n" * 6)
    for attempt in (file.last, lambda: file.append(sign(Frontier().grown(LEAVES), key))):
        with pytest.raises(RecordNotWritten, match="no checkpoint"):
            attempt()
    assert path.read_bytes() == b"x\n" * 6


def test_a_closing_log_signs_what_it_has_become(house):
    house.session("a", "b")
    house.session()
    house.session("c")
    assert house.sizes() == [2, 3]
    last = house.file.last()
    leaves = [bytes.fromhex(entry.leaf_hash) for entry in SqliteStore(house.database).entries()]
    assert last.root == root_of(leaves)
    assert last.signed_by(load_key(house.folder / "key").public)


def test_an_empty_record_is_not_signed(house):
    house.session()
    assert house.sizes() == []


def test_a_checkpoint_is_signed_some_seconds_after_growth(house):
    log = house.opened(seconds=0.05)
    log.append_now(draft())
    assert soon(lambda: house.sizes() == [1])
    time.sleep(0.2)
    assert house.sizes() == [1]
    log.append_now(draft())
    assert soon(lambda: house.sizes() == [1, 2])
    log.close()


def test_a_checkpoint_is_signed_at_once_after_many_entries(house):
    log = house.opened(entries=5)
    assert soon(lambda: log._witness._followed is not None)
    for _ in range(5):
        log.append_now(draft())
    assert soon(lambda: house.sizes()[:1] == [5])
    log.close()


def test_an_older_copy_in_the_record_s_place_is_not_added_to(house):
    house.session("a", "b")
    house.copy("older.db")
    house.session("c")
    newest = house.copy("newest.db")
    shutil.copy(house.folder / "older.db", house.database)
    log = house.opened(seconds=0.05)
    for attempt in (log.check, lambda: log.append_now(draft("d"))):
        with pytest.raises(RecordNotWritten, match="shorter than the last signed checkpoint"):
            attempt()
    newest.replace(house.database)
    assert soon(lambda: log._witness._trouble is None)
    assert log.append_now(draft("d")).seq == 4
    log.close()
    assert house.sizes() == [2, 3, 4]


def test_a_new_file_in_the_record_s_place_is_not_begun(house):
    house.session("a")
    house.database.unlink()
    log = house.opened()
    with pytest.raises(RecordNotWritten, match="shorter"):
        log.append_now(draft("b"))
    log.close()
    assert not house.database.exists()
    assert house.sizes() == [1]


def test_another_record_of_that_size_is_not_signed(house, caplog):
    house.session("a")
    house.database.unlink()
    other = Sequencer(SqliteStore(house.database))
    other.append_now(draft("x"))
    other.append_now(draft("y"))
    other.close()
    log = house.opened(seconds=0.05)
    assert soon(lambda: log._witness._trouble is not None)
    with pytest.raises(RecordNotWritten, match="not the one that was signed"):
        log.append_now(draft("z"))
    log.close()
    assert house.sizes() == [1]
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_a_record_that_was_rewritten_in_place_is_not_added_to(house):
    log = house.opened(seconds=0.05)
    log.append_now(draft("a"))
    assert soon(lambda: house.sizes() == [1])
    with closing(sqlite3.connect(house.database)) as other:
        other.executescript(
            "DROP TRIGGER entries_stay; UPDATE entries SET leaf_hash = 'ab' || substr(leaf_hash, 3);"
        )
    log.append_now(draft("b"))
    log.close()
    log = house.opened()
    assert soon(lambda: log._witness._trouble is not None)
    with pytest.raises(RecordNotWritten, match="not the one that was signed"):
        log.append_now(draft("c"))
    log.close()


def test_another_key_does_not_go_on_signing(house):
    house.session("a")
    (house.folder / "key").unlink()
    log = house.opened()
    assert soon(lambda: log._witness._trouble is not None)
    with pytest.raises(RecordNotWritten, match="another key"):
        log.append_now(draft("b"))
    log.close()


def test_a_second_place_that_fails_delays_signing_only(house):
    log = house.opened(seconds=0.05)
    (house.folder / "checkpoints").mkdir()
    assert log.append_now(draft("a")).seq == 1
    time.sleep(0.2)
    assert log.append_now(draft("b")).seq == 2
    log.check()
    (house.folder / "checkpoints").rmdir()
    assert soon(lambda: house.sizes() == [2])
    log.close()

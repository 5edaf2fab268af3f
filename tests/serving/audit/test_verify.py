"""Verify: nothing that was written can be changed, cut off or put back unseen; what is found has a number."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from features.errors import InvalidInput
from serving.audit.backup import back_up
from serving.audit.checkpoint import CheckpointFile, sign
from serving.audit.checkpointer import Checkpointer
from serving.audit.merkle import Frontier, leaf_hash
from serving.audit.note import PublicKey, load_key
from serving.audit.sequencer import Sequencer
from serving.audit.sqlite import SCHEMA, SqliteStore, digest_file
from serving.audit.store import make_store
from serving.audit.verify import Verification, verify
from tests.serving.audit.drafts import AT_SECONDS, draft, same_request


@dataclass(frozen=True)
class Copy:
    """A closed record with what it is held against."""

    path: Path
    checkpoints: CheckpointFile
    key: PublicKey

    def verified(self, path: Path | None = None) -> Verification:
        return verify(path or self.path, checkpoints=self.checkpoints, key=self.key)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A record of twelve entries, the sixth of which erased the fourth, with checkpoints after 5 and 12."""
    folder = tmp_path_factory.mktemp("record")
    key = load_key(folder / "key")
    file = CheckpointFile(folder / "checkpoints")
    for start, stop in ((0, 5), (5, 11)):
        store = SqliteStore(folder / "audit.db", now=lambda: AT_SECONDS)
        log = Sequencer(store)
        if start:
            log.append_now(draft("erasing", kind="erased", facts={"ids": ["id 3"]}, content=None))
        for n in range(start, stop):
            content = None if n == 4 else f'{{"age": {50 + n}}}'.encode() * 3
            log.append_now(
                draft(
                    f"id {n}",
                    facts={"n": n},
                    content=content,
                    subject="s",
                    idempotency_key=same_request(str(n)),
                )
            )
        Checkpointer(store, key, file).close()
        log.close()
    shutil.copy(folder / "audit.db", folder / "copy.db")
    return Copy(folder / "copy.db", file, key.public)


@pytest.fixture
def copy(written: Copy, tmp_path: Path) -> Copy:
    """A copy to spoil."""
    return Copy(Path(shutil.copy(written.path, tmp_path / "copy.db")), written.checkpoints, written.key)


def contents(path: Path) -> list[str]:
    """Return everything that is stored, as SQL."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as reader:
        return sorted([*reader.iterdump(), *map(str, reader.execute("PRAGMA user_version"))])


def tampered(copy: Copy, sql: str) -> Verification:
    """Change a record past its guards, and put the guards back."""
    with closing(sqlite3.connect(copy.path)) as other:
        guards = other.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in guards:
            other.execute(f"DROP TRIGGER {name}")
        other.executescript(sql)
        for _, text in guards:
            other.execute(text)
        other.commit()
    return copy.verified()


def test_a_record_as_it_was_written_is_sound(written):
    found = written.verified()
    assert found.findings == ()
    assert found.sound
    assert (found.size, found.checkpoints, found.first_bad) == (12, 2, None)
    assert found.root_hash == SqliteStore(written.path).head().root_hash


def test_a_live_record_is_verified_while_it_is_written(tmp_path):
    log = Sequencer(SqliteStore(tmp_path / "audit.db"))
    for size in range(1, 5):
        log.append_now(draft())
        found = verify(tmp_path / "audit.db")
        assert (found.size, found.findings) == (size, ())
    log.close()


CHANGE = "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), '{}', '{}') AS BLOB) WHERE seq = {}"

# what is done to a record, and the entry and the words by which it is found
TAMPERINGS = [
    ("a fact", CHANGE.format('"n":5', '"n":7', 7), 7, "hash it was written with"),
    ("a kind in a body", CHANGE.format("prediction", "Prediction", 7), 7, "kind is not what the body says"),
    ("a blank in a body", CHANGE.format('"n":0', '"n": 0', 1), 1, "not written as"),
    ("a number in a body", CHANGE.format('"seq":2', '"seq":9', 2), 2, "seq is not what the body says"),
    ("a body emptied", "UPDATE entries SET body = x'' WHERE seq = 2", 2, "is none"),
    ("a leaf hash", "UPDATE entries SET leaf_hash = upper(leaf_hash) WHERE seq = 3", 3, "hash"),
    ("a time", "UPDATE entries SET at = '1999' WHERE seq = 1", 1, "at is not what the body says"),
    ("a kind", "UPDATE entries SET kind = 'x' WHERE seq = 12", 12, "kind is not what the body says"),
    ("an id", "UPDATE entries SET id = 'x' WHERE seq = 5", 5, "id is not what the body says"),
    ("a subject", "UPDATE entries SET subject = NULL WHERE seq = 9", 9, "subject is not what the body says"),
    ("an entry gone", "DELETE FROM entries WHERE seq = 8", 8, "entry 8 is missing"),
    ("an erasure gone", "DELETE FROM entries WHERE seq = 6", 4, "no entry says it was erased"),
    ("the last entry gone", "DELETE FROM entries WHERE seq = 12", 12, "ends after 11"),
    ("all gone", "DELETE FROM entries", 1, "ends after 0"),
    (
        "two swapped",
        "UPDATE entries SET seq = -1 WHERE seq = 4; UPDATE entries SET seq = 4 WHERE seq = 5;"
        "UPDATE entries SET seq = 5 WHERE seq = -1",
        4,
        "seq is not what",
    ),
    ("a content", "UPDATE contents SET content = x'00' WHERE seq = 8", 8, "not the one committed to"),
    ("a salt", "UPDATE contents SET salt = zeroblob(16) WHERE seq = 8", 8, "not the one committed to"),
    ("a content gone", "DELETE FROM contents WHERE seq = 8", 8, "no entry says it was erased"),
    ("a content back", "INSERT INTO contents VALUES (4, x'00', x'00')", 4, "not the one committed to"),
    ("a content added", "INSERT INTO contents VALUES (5, x'00', x'00')", 5, "the entry has none"),
    ("a stray content", "INSERT INTO contents VALUES (99, x'00', x'00')", None, "99, which is not there"),
    ("a key's request", "UPDATE repeats SET fingerprint = 'x' WHERE key = '2'", None, "idempotency key"),
    ("a key's entry", "UPDATE repeats SET seq = 1 WHERE key = '2'", None, "idempotency key"),
    ("a key's lapse", "UPDATE repeats SET lapses = 0 WHERE key = '2'", None, "idempotency key"),
    ("the head's size", "UPDATE head SET size = 13", None, "the head is not"),
    ("the head's peaks", "UPDATE head SET peaks = zeroblob(64)", None, "the head is not"),
    ("no head", "DELETE FROM head", None, "the head is not"),
    ("the version", "PRAGMA user_version = 1", None, "not of version 2"),
    ("an index gone", "DROP INDEX entries_kind", None, "not those that were made"),
    ("a table more", "CREATE TABLE more (x)", None, "not those that were made"),
]


@pytest.mark.parametrize(
    ("sql", "seq", "words"), [row[1:] for row in TAMPERINGS], ids=[r[0] for r in TAMPERINGS]
)
def test_what_was_tampered_with_is_found_and_named(copy, sql, seq, words):
    found = tampered(copy, sql)
    assert not found.sound
    assert found.first_bad == seq
    assert any(words in one.problem and one.seq == seq for one in found.findings), found.findings


def test_a_guard_that_was_taken_off_is_found(copy):
    with closing(sqlite3.connect(copy.path)) as other:
        other.execute("DROP TRIGGER entries_remain")
    assert [one.problem for one in copy.verified().findings] == [
        "the tables, indexes and triggers are not those that were made"
    ]


def rewritten(copy: Copy) -> Path:
    """Write the whole record anew with one fact changed: consistent in itself, and forged."""
    forged = copy.path.with_name("forged.db")
    log = Sequencer(SqliteStore(forged))
    for entry in SqliteStore(copy.path).entries():
        facts = {"n": 99} if entry.seq == 3 else entry.facts
        log.append_now(draft(entry.id, kind="other", facts=facts, content=None))
    log.close()
    return forged


def test_a_record_forged_as_a_whole_is_found_by_what_was_signed(copy):
    forged = rewritten(copy)
    assert verify(forged).sound
    found = copy.verified(forged)
    assert [one.problem for one in found.findings] == [
        "the first 5 entries are not those that were signed",
        "the first 12 entries are not those that were signed",
    ]


def test_a_record_put_back_as_it_once_was_is_found_by_what_was_signed(tmp_path, written):
    log = Sequencer(SqliteStore(tmp_path / "older.db"))
    log.close()
    SqliteStore(tmp_path / "older.db").check()
    found = written.verified(tmp_path / "older.db")
    assert found.first_bad == 1
    assert "a record of 12 entries was signed, and it ends after 0" in [one.problem for one in found.findings]


def test_checkpoints_of_another_key_or_order_or_none_are_found(written, tmp_path):
    other = load_key(tmp_path / "other")
    assert {
        one.problem
        for one in verify(written.path, checkpoints=written.checkpoints, key=other.public).findings
    } == {
        f"checkpoint 1 was not signed by {other.name}",
        f"checkpoint 2 was not signed by {other.name}",
    }
    (no_key,) = verify(written.path, checkpoints=written.checkpoints).findings
    assert no_key.problem == "there is no key to check the checkpoints with"
    spoilt = tmp_path / "checkpoints"
    notes = [one.note for one in written.checkpoints.all()]
    spoilt.write_text("\n".join([*reversed(notes), "junk"]))
    found = verify(written.path, checkpoints=CheckpointFile(spoilt), key=written.key)
    assert [one.problem for one in found.findings] == [
        "checkpoint 2 is of a tree no larger than the one before",
        "the checkpoints hold something that is none",
    ]


def test_a_checkpoint_signed_over_another_tree_is_found(written, tmp_path):
    key = load_key(written.checkpoints._path.with_name("key"))
    file = CheckpointFile(tmp_path / "checkpoints")
    file.append(sign(Frontier().grown([leaf_hash(b"x")] * 3), key))
    found = verify(written.path, checkpoints=file, key=written.key)
    assert (found.first_bad, len(found.findings)) == (3, 1)


@pytest.mark.parametrize("made", ["nothing", "a folder", "no database", "empty"])
def test_what_is_no_record_is_an_answer(tmp_path, made):
    path = tmp_path / "audit.db"
    making: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "a folder": path.mkdir,
        "no database": lambda: path.write_bytes(b"no database" * 900),
        "empty": lambda: path.write_bytes(b""),
    }
    making[made]()
    assert not verify(path).sound


def flips(written: Copy, folder: Path, offsets: range, seed: int) -> tuple[list[int], list[int]]:
    """Flip one bit of each byte in a copy; return where it was not found, and where that changed anything."""
    whole, spoilt = written.path.read_bytes(), folder / "spoilt.db"
    generator, stored = random.Random(seed), contents(written.path)
    unseen, changed = [], []
    for at in offsets:
        bit = 1 << generator.randrange(8)
        spoilt.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        if written.verified(spoilt).sound:
            unseen.append(at)
            if contents(spoilt) != stored:
                changed.append(at)
        for beside in folder.glob("spoilt.db-*"):
            beside.unlink()
    return unseen, changed


def test_a_flipped_bit_of_anything_stored_is_found(written, tmp_path):
    size = written.path.stat().st_size
    _, changed = flips(written, tmp_path, range(17, size, 53), seed=1)
    assert changed == []


@pytest.mark.exhaustive
def test_every_byte_of_anything_stored_is_found(written, tmp_path):
    _, changed = flips(written, tmp_path, range(written.path.stat().st_size), seed=2)
    assert changed == []


def test_every_truncation_is_found(written, tmp_path):
    whole, cut = written.path.read_bytes(), tmp_path / "cut.db"
    for length in [*range(0, len(whole), 487), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        assert not written.verified(cut).sound, length


def test_a_backup_is_sound_and_every_byte_of_it_is_held_by_its_hash(written, tmp_path):
    copied = tmp_path / "backup.db"
    digest = back_up(make_store(written.path), copied)
    assert digest_file(copied).read_text() == f"{digest}  backup.db\n"
    assert written.verified(copied).findings == ()
    assert contents(copied) == contents(written.path)
    whole = copied.read_bytes()
    for at in range(0, len(whole), 211):
        copied.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert "SHA-256" in written.verified(copied).findings[0].problem
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        copied.write_bytes(whole[:length])
        assert not written.verified(copied).sound


def test_a_backup_goes_over_nothing(written, tmp_path):
    (tmp_path / "there.db").write_text("precious")
    with pytest.raises(InvalidInput, match="exists already"):
        back_up(make_store(written.path), tmp_path / "there.db")
    assert (tmp_path / "there.db").read_text() == "precious"


def test_a_backup_goes_on_as_a_store(written, tmp_path):
    back_up(make_store(written.path), tmp_path / "backup.db")
    digest_file(tmp_path / "backup.db").unlink()
    log = Sequencer(SqliteStore(tmp_path / "backup.db"))
    assert log.append_now(draft("next")).seq == 13
    log.close()
    assert written.verified(tmp_path / "backup.db").sound


def test_the_schema_that_is_checked_is_the_one_that_is_made(written):
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(SCHEMA)
        made = {row[0] for row in empty.execute("SELECT name FROM sqlite_master")}
    with closing(sqlite3.connect(written.path)) as reader:
        assert {row[0] for row in reader.execute("SELECT name FROM sqlite_master")} == made

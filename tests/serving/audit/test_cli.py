"""The commands of the record: what they print, what they put on record, and their exit codes."""

import hashlib
import json
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from features.errors import InvalidInput, NotFound, RecordNotWritten
from serving.access.subjects import subject_hash, subject_key
from serving.audit.checkpoint import CheckpointFile
from serving.audit.checkpointer import Checkpointer
from serving.audit.merkle import consistent, included, leaf_hash
from serving.audit.note import PublicKey, load_key
from serving.audit.record import commit, packed
from serving.audit.sequencer import Sequencer
from serving.audit.sqlite import SqliteStore
from serving.audit.verify import verify
from serving.cli import audit
from tests.serving.audit.drafts import draft


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment's home with five records, of which the first four are under a checkpoint."""
    monkeypatch.setenv("SALVAGE_HOME", str(tmp_path))
    for name in ("SALVAGE_STORE", "SALVAGE_CHECKPOINTS", "SALVAGE_RETENTION_DAYS"):
        monkeypatch.delenv(name, raising=False)
    store = SqliteStore(tmp_path / "audit.db")
    witness = Checkpointer(store, load_key(tmp_path / "audit.key"), CheckpointFile(tmp_path / "checkpoints"))
    log = Sequencer(store, witness=witness)
    young = datetime.now(UTC).isoformat()
    for n in range(3):
        log.append_now(draft(f"id-{n}", content=f"content {n}".encode(), at="2001-01-01T00:00:00+00:00"))
    log.append_now(draft("young", content=b"content young", at=young))
    log.close()
    log = Sequencer(store)
    log.append_now(draft("last", content=None, kind="model_loaded", at=young))
    log.close()
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(audit, words, catch_exceptions=False)


def entries(home: Path) -> list:
    return list(SqliteStore(home / "audit.db").entries())


def test_verify_says_that_all_is_well(home):
    done = run("verify")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "everything is as it was written")
    assert "5 records, held against 1 checkpoints" in done.output


def test_verify_names_the_first_bad_record_and_fails(home):
    whole = (home / "audit.db").read_bytes()
    assert packed(b"content 1") in whole
    (home / "audit.db").write_bytes(whole.replace(packed(b"content 1"), packed(b"content X")))
    done = run("verify")
    assert done.exit_code == 1
    assert "the first bad record is 2" in done.output
    done = run("verify", "--json")
    found = json.loads(done.output)
    assert (done.exit_code, found["sound"], found["first_bad"]) == (1, False, 2)
    assert found["findings"] == [{"problem": "the content is not the one committed to", "seq": 2}]


def test_a_spoiled_content_stops_its_own_reader_and_nobody_else(home):
    whole = (home / "audit.db").read_bytes()
    (home / "audit.db").write_bytes(whole.replace(packed(b"content 1"), packed(b"content 1")[:-1] + b"?"))
    assert run("show", "id-0", "--content").output == "content 0\n"
    assert len(run("export").output.splitlines()) >= 5
    with pytest.raises(RecordNotWritten, match=r"entry 2 cannot be read: .* restore a backup"):
        run("show", "id-1", "--content")
    done = run("erase", "id-1", "--reason", "request of the patient")
    assert done.output == "the contents of 1 records were erased\n"
    assert run("verify").exit_code == 0


def test_verify_holds_another_store_against_given_checkpoints(home, tmp_path):
    key = run("key").output.strip()
    other = tmp_path / "copy.db"
    run("backup", str(other))
    (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")
    (tmp_path / "audit.key").unlink()
    words = ("verify", "--store", str(other), "--checkpoints", str(tmp_path / "elsewhere"), "--key", key)
    assert run(*words).exit_code == 0
    assert run(*words[:-1], str(load_key(tmp_path / "another").public)).exit_code == 1


def test_show_prints_the_exact_bytes(home):
    (first, *_) = entries(home)
    assert run("show", "id-0").stdout_bytes == first.body + b"\n"
    assert len(entries(home)) == 5


def test_showing_a_content_is_put_on_record(home):
    assert run("show", "id-1", "--content").stdout_bytes == b"content 1\n"
    *_, reading = entries(home)
    assert (reading.kind, reading.facts["entry"]) == ("read", "id-1")
    assert reading.facts["client"].startswith("command:")


@pytest.mark.parametrize("words", [("show", "nobody"), ("show", "last", "--content"), ("prove", "nobody")])
def test_what_is_not_there_is_not_found(home, words):
    with pytest.raises(NotFound):
        run(*words)


def test_a_record_under_a_checkpoint_is_proven_against_it(home):
    said = json.loads(run("prove", "id-1").output)
    assert said["tree_size"] == 4
    assert said["checkpoint"] == CheckpointFile(home / "checkpoints").last().note
    hashes = [bytes.fromhex(one) for one in said["hashes"]]
    leaf, root = bytes.fromhex(said["leaf_hash"]), bytes.fromhex(said["root_hash"])
    assert leaf.hex() == entries(home)[1].leaf_hash
    assert included(leaf, said["leaf_index"], said["tree_size"], root, hashes)


def test_a_record_beyond_the_last_checkpoint_is_proven_against_the_head(home):
    said = json.loads(run("prove", "last").output)
    assert (said["tree_size"], said["checkpoint"]) == (5, None)


def test_growth_is_proven(home):
    said = json.loads(run("prove", "--from", "2", "--to", "5").output)
    roots = bytes.fromhex(said["first_root"]), bytes.fromhex(said["second_root"])
    assert consistent(2, 5, *roots, [bytes.fromhex(one) for one in said["hashes"]])
    assert json.loads(run("prove", "--from", "2").output) == said


@pytest.mark.parametrize("words", [(), ("--from", "3", "--to", "9"), ("id-1", "--to", "1")])
def test_what_cannot_be_proven_is_refused(home, words):
    with pytest.raises(InvalidInput):
        run("prove", *words)


def test_an_export_can_be_verified_by_who_receives_it(home):
    lines = [json.loads(line) for line in run("export", "--contents").output.splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        assert leaf_hash(line["body"].encode()).hex() == line["leaf_hash"]
    for line in lines[:4]:
        commitment = commit(bytes.fromhex(line["salt"]), line["content"].encode())
        assert json.loads(line["body"])["commitment"] == commitment
    assert json.loads(lines[5]["body"])["kind"] == "read"


def test_an_export_holds_no_patient_s_values_unless_asked_for(home):
    done = run("export", "--kind", "prediction", "--after", "1")
    assert [json.loads(line)["seq"] for line in done.output.splitlines()] == [2, 3, 4]
    assert "content" not in done.output.replace("content_", "")
    assert len(entries(home)) == 5


def test_an_export_speaks_fhir(home):
    kinds = [
        json.loads(line)["resourceType"]
        for line in run("export", "--format", "fhir", "--after", "4").output.splitlines()
    ]
    assert kinds == ["AuditEvent"]


def test_a_backup_is_checked_by_sha256sum(home):
    done = run("backup", str(home / "backup.db"))
    digest = hashlib.sha256((home / "backup.db").read_bytes()).hexdigest()
    assert done.output == f"{digest}  {home / 'backup.db'}\n"
    subprocess.run(["sha256sum", "--check", "--status", "backup.db.sha256"], cwd=home, check=True)
    assert verify(home / "backup.db").size == 5


def test_erasing_takes_the_content_only_and_is_on_record(home):
    done = run("erase", "id-0", "last", "--reason", "request")
    assert "the contents of 1 records were erased" in done.output
    first, *_, erased = entries(home)
    assert (first.id, first.content, first.salt) == ("id-0", None, None)
    assert erased.kind == "erased"
    assert erased.facts["ids"] == ["id-0"]
    assert erased.facts["reason"] == "request"
    assert run("verify").exit_code == 0
    for file in home.glob("audit.db*"):
        assert b"content 0" not in file.read_bytes(), file
    with pytest.raises(NotFound):
        run("erase", "nobody")


def test_what_is_past_its_retention_is_erased(home, monkeypatch):
    assert "3 records" in run("erase", "--expired").output
    assert [entry.content for entry in entries(home)[:4]] == [None, None, None, b"content young"]
    assert "0 records" in run("erase", "--expired").output
    assert len(entries(home)) == 6
    monkeypatch.setenv("SALVAGE_RETENTION_DAYS", str(365 * 5))
    with pytest.raises(InvalidInput, match="six years"):
        run("erase", "--expired")


def test_retention_is_counted_in_days(home, monkeypatch):
    days = (datetime.now(UTC) - datetime(2001, 1, 1, tzinfo=UTC)) // timedelta(days=1)
    monkeypatch.setenv("SALVAGE_RETENTION_DAYS", str(days + 1))
    assert "0 records" in run("erase", "--expired").output
    monkeypatch.setenv("SALVAGE_RETENTION_DAYS", str(days))
    assert "3 records" in run("erase", "--expired").output


def test_the_key_that_is_printed_verifies_the_checkpoints(home):
    key = PublicKey.parse(run("key").output.strip())
    assert CheckpointFile(home / "checkpoints").last().signed_by(key)


def test_one_patients_records_are_exported_and_erased_by_their_identifier(home):
    hashed = subject_hash(subject_key(home / "subject.key"), "MRN-7")
    log = Sequencer(SqliteStore(home / "audit.db"))
    for n in range(2):
        log.append_now(replace(draft(f"mine-{n}", content=b"of MRN-7"), subject=hashed))
    log.close()
    lines = [json.loads(line) for line in run("export", "--subject", "MRN-7").output.splitlines()]
    assert [json.loads(line["body"])["id"] for line in lines] == ["mine-0", "mine-1"]
    assert run("export", "--subject", "MRN-8").output == ""
    assert packed(b"of MRN-7") in (home / "audit.db").read_bytes()
    done = run("erase", "--subject", "MRN-7", "--reason", "request of the patient")
    assert done.output == "the contents of 2 records were erased\n"
    assert packed(b"of MRN-7") not in (home / "audit.db").read_bytes()
    assert run("verify").exit_code == 0

"""The sequencer: many share one commit, nobody is told before it, and a bad draft fails alone."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from features.errors import KeyReused, NotFound, RecordNotWritten, TooBusy
from serving.audit import sequencer as module
from serving.audit.merkle import leaf_hash, root_of
from serving.audit.record import commit
from serving.audit.sequencer import Sequencer
from serving.audit.sqlite import SqliteStore
from tests.serving.audit.drafts import AT_SECONDS, draft, same_request
from tests.serving.processes import settled


class Gated(SqliteStore):
    """The real store, whose writes wait for a gate, are counted, and fail when they are told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, now=lambda: AT_SECONDS)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[int] = []
        self.failure: Exception | None = None

    def write(self, groups):
        self.batches.append(len(groups))
        self.entered.set()
        assert self.gate.wait(10)
        if self.failure:
            raise self.failure
        return super().write(groups)

    def shut(self) -> None:
        """Hold the next write back."""
        self.entered.clear()
        self.gate.clear()


@pytest.fixture
def store(tmp_path: Path) -> Gated:
    return Gated(tmp_path / "audit.db")


@pytest.fixture
def log(store: Gated) -> Iterator[Sequencer]:
    opened = Sequencer(store, room=8)
    yield opened
    store.gate.set()
    opened.close()


async def gathered(log: Sequencer, drafts: list) -> list:
    return await asyncio.gather(*(log.append(one) for one in drafts), return_exceptions=True)


def test_a_receipt_says_where_the_entry_stands(log):
    receipt = log.append_now(draft("a", facts={"x": 1}, content=b"secret"))
    entry = log.get("a")
    assert (receipt.id, receipt.seq, receipt.tree_size, receipt.repeated) == ("a", 1, 1, False)
    assert receipt.leaf_hash == receipt.root_hash == entry.leaf_hash == leaf_hash(entry.body).hex()
    assert entry.facts == {"x": 1}
    assert entry.content == b"secret"
    assert b"secret" not in entry.body
    assert commit(entry.salt, entry.content).encode() in entry.body


def test_two_entries_of_one_content_have_salts_of_their_own(log):
    log.append_now(draft("a"))
    log.append_now(draft("b"))
    assert log.get("a").salt != log.get("b").salt


def test_what_waits_shares_one_transaction(log, store):
    async def many() -> list:
        store.shut()
        first = asyncio.create_task(log.append(draft("first")))
        await asyncio.to_thread(store.entered.wait)
        others = [asyncio.create_task(log.append(draft(f"id {n}"))) for n in range(7)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in (first, *others))
        store.gate.set()
        return await asyncio.gather(first, *others)

    receipts = asyncio.run(many())
    assert store.batches == [1, 7]
    assert [receipt.seq for receipt in receipts] == list(range(1, 9))
    assert {receipt.tree_size for receipt in receipts[1:]} == {8}
    leaves = [bytes.fromhex(entry.leaf_hash) for entry in log.entries()]
    assert receipts[-1].root_hash == root_of(leaves).hex() == log.head().root_hash


def test_a_bad_draft_fails_alone(log, store):
    log.append_now(draft("taken", idempotency_key=same_request("k")))
    store.shut()

    async def many() -> list:
        held = asyncio.create_task(log.append(draft("held")))
        await asyncio.to_thread(store.entered.wait)
        drafts = [
            draft("good"),
            draft("taken"),
            draft("key", idempotency_key=same_request("k", "another")),
            draft("odd", facts={"x": object()}),
            draft("nul\x00"),
            draft("again", idempotency_key=same_request("k")),
            draft("fine"),
        ]
        told = asyncio.create_task(gathered(log, drafts))
        await asyncio.sleep(0.05)
        store.gate.set()
        return [await held, *await told]

    held, good, taken, key, odd, nul, again, fine = asyncio.run(many())
    assert store.batches == [1, 1, 7]
    assert (held.seq, good.seq, fine.seq) == (2, 3, 4)
    assert isinstance(taken, RecordNotWritten)
    assert isinstance(key, KeyReused)
    assert isinstance(odd, RecordNotWritten)
    assert isinstance(nul, RecordNotWritten)
    assert (again.id, again.seq, again.repeated) == ("taken", 1, True)
    assert [entry.id for entry in log.entries()] == ["taken", "held", "good", "fine"]


def test_a_group_stands_or_falls_as_a_whole(log):
    log.append_now(draft("taken"))
    with pytest.raises(RecordNotWritten, match="taken is on record already"):
        asyncio.run(log.append_all([draft("a"), draft("taken"), draft("b")]))
    receipts = asyncio.run(log.append_all([draft("a"), draft("b")]))
    assert [(one.id, one.seq) for one in receipts] == [("a", 2), ("b", 3)]


def test_the_same_request_twice_in_one_batch_is_recorded_once(log):
    pair = [
        draft("a", idempotency_key=same_request("k")),
        draft("b", idempotency_key=same_request("k")),
    ]
    first, second = asyncio.run(log.append_all(pair))
    assert (first.id, first.repeated, second.id, second.repeated) == ("a", False, "a", True)
    assert log.find("c", "k").id == "a"
    assert log.find("c", "other") is None
    assert log.find("other", "k") is None
    with pytest.raises(NotFound):
        log.get("b")


def test_a_store_that_fails_fails_the_batch_and_the_next_one_is_written(log, store):
    store.failure = RecordNotWritten("the disk is full")
    found = asyncio.run(gathered(log, [draft("a"), draft("b")]))
    assert [str(error) for error in found] == ["the disk is full"] * 2
    store.failure = ZeroDivisionError()
    with pytest.raises(RecordNotWritten, match="ZeroDivisionError"):
        log.append_now(draft("a"))
    store.failure = None
    assert log.append_now(draft("a")).seq == 1


def test_a_full_queue_refuses_at_once_and_has_room_again(log, store):
    async def many() -> list:
        store.shut()
        first = asyncio.create_task(log.append(draft()))
        await asyncio.to_thread(store.entered.wait)
        waiting = [asyncio.create_task(log.append(draft())) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(TooBusy, match="8 records wait"):
            await log.append(draft())
        store.gate.set()
        await asyncio.gather(first, *waiting)
        return [await log.append(draft())]

    assert asyncio.run(many())[0].seq == 10


def test_a_group_larger_than_the_room_is_let_in_when_nothing_waits(log):
    assert len(asyncio.run(log.append_all([draft() for _ in range(50)]))) == 50


def test_a_caller_who_left_disturbs_nobody(log, store):
    async def many() -> None:
        store.shut()
        leaving = asyncio.create_task(log.append(draft("left")))
        staying = asyncio.create_task(log.append(draft("stayed")))
        await asyncio.to_thread(store.entered.wait)
        leaving.cancel()
        store.gate.set()
        assert (await staying).id == "stayed"

    asyncio.run(many())
    assert {entry.id for entry in log.entries()} == {"left", "stayed"}


def test_a_silent_store_is_waited_for_only_so_long(log, store, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    store.shut()
    with pytest.raises(RecordNotWritten, match="not answered in time"):
        log.append_now(draft())
    with pytest.raises(RecordNotWritten, match="not answered in time"):
        asyncio.run(log.append(draft()))


class Strict:
    """A witness that notes what it is told, and refuses when it is told to."""

    def __init__(self) -> None:
        self.refusing, self.sizes, self.closed = False, list[int](), False

    def allowed(self) -> None:
        if self.refusing:
            raise RecordNotWritten("this is not the record that was signed")

    def grown(self, size: int) -> None:
        self.sizes.append(size)

    def close(self) -> None:
        self.closed = True


def test_a_witness_sees_the_record_grow_and_may_refuse_more(store):
    witness = Strict()
    log = Sequencer(store, witness=witness)
    log.append_now(draft("a"))
    asyncio.run(log.append_all([draft(), draft()]))
    with pytest.raises(RecordNotWritten, match="already"):
        log.append_now(draft("a"))
    witness.refusing = True
    for attempt in (log.check, lambda: log.append_now(draft())):
        with pytest.raises(RecordNotWritten, match="not the record that was signed"):
            attempt()
    assert witness.sizes == [1, 3]
    assert log.head().size == 3
    log.close()
    assert witness.closed


def test_closing_writes_what_waits_and_refuses_more(store):
    log = Sequencer(store)
    store.shut()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(log.append_now, draft())]
        assert store.entered.wait(10)
        waiting += [pool.submit(log.append_now, draft()) for _ in range(2)]
        settled(lambda: len(log._waiting) == 2, "not all wait")
        closing = threading.Thread(target=log.close)
        closing.start()
        store.gate.set()
        assert sorted(one.result().seq for one in waiting) == [1, 2, 3]
    closing.join()
    for attempt in (log.check, lambda: log.append_now(draft())):
        with pytest.raises(RecordNotWritten, match="going down"):
            attempt()


def test_a_store_that_hangs_does_not_keep_the_log_from_closing(store, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    log = Sequencer(store)
    store.shut()
    with pytest.raises(RecordNotWritten, match="not answered in time"):
        log.append_now(draft("a"))
    log.close()
    with pytest.raises(RecordNotWritten, match="going down"):
        log.append_now(draft("b"))
    store.gate.set()
    log._thread.join()
    store.close()


def test_threads_and_two_sequencers_leave_no_gap_and_no_fork(tmp_path):
    logs = [Sequencer(SqliteStore(tmp_path / "audit.db")) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: logs[n % 2].append_now(draft(f"id {n}")), range(120)))
    assert sorted(receipt.seq for receipt in found) == list(range(1, 121))
    leaves = [bytes.fromhex(entry.leaf_hash) for entry in logs[0].entries()]
    for receipt in found:
        assert receipt.root_hash == root_of(leaves[: receipt.tree_size]).hex()
    for log in logs:
        log.close()

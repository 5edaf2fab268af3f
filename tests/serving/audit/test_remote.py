"""The log across processes: the same promises, over a socket that only its owner opens."""

import asyncio
import socket
import stat
import struct
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import KeyReused, NotFound, RecordNotWritten, TooBusy
from serving.audit.frames import FrameReader, drafts_frame, drafts_of, frame
from serving.audit.record import Draft
from serving.audit.remote import RemoteSequencer, SequencerServer
from serving.audit.sequencer import Sequencer
from serving.audit.sqlite import SqliteStore
from tests.serving.audit.drafts import AT_SECONDS, draft, same_request


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.socket"


@pytest.fixture
def sequencer(file: Path) -> Iterator[Sequencer]:
    opened = Sequencer(store_at(file), room=8)
    yield opened
    opened.close()


@pytest.fixture
def server(sequencer: Sequencer, path: Path) -> Iterator[SequencerServer]:
    serving = SequencerServer(sequencer, path)
    yield serving
    serving.close()


@pytest.fixture
def log(server: SequencerServer, path: Path, file: Path) -> Iterator[RemoteSequencer]:
    remote = RemoteSequencer(path, store_at(file))
    yield remote
    remote.close()


def store_at(file: Path) -> SqliteStore:
    return SqliteStore(file, now=lambda: AT_SECONDS)


def run(log: RemoteSequencer, story: Coroutine[Any, Any, Any]) -> Any:
    """Run a story on an event loop of its own, and hang up before it ends, as an application does."""

    async def whole() -> Any:
        try:
            return await story
        finally:
            log.close()
            await asyncio.sleep(0.01)

    return asyncio.run(whole())


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
drafts = st.builds(
    Draft,
    id=texts,
    at=texts,
    kind=texts,
    facts=st.dictionaries(texts, st.none() | texts | st.integers(-9, 9)),
    content=st.none() | st.binary(max_size=20),
    subject=st.none() | texts,
    idempotency_key=st.none() | st.builds(same_request, texts),
)


@given(st.lists(st.lists(drafts, max_size=3), min_size=1, max_size=4), st.data())
def test_drafts_arrive_as_they_were_sent_however_the_bytes_are_cut(groups, data):
    sent = b"".join(drafts_frame(number, group) for number, group in enumerate(groups))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=5)))
    parts = [sent[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    frames = FrameReader()
    arrived = [found for part in parts for found in frames.fed(part)]
    assert [number for number, _, _ in arrived] == list(range(len(groups)))
    assert [drafts_of(header, contents) for _, header, contents in arrived] == groups


def test_what_is_appended_remotely_is_what_is_read(log, sequencer):
    sent = draft("a", facts={"x": [1.5, None, "ä"]}, content=b"\x00\xff", subject="s")
    receipt = run(log, log.append(sent))
    entry = log.get("a")
    assert entry == sequencer.get("a")
    assert (entry.facts, entry.content, entry.leaf_hash) == (sent.facts, sent.content, receipt.leaf_hash)
    assert [one.id for one in log.entries(subject="s")] == ["a"]
    assert (log.head().size, log.head().root_hash) == (receipt.tree_size, receipt.root_hash)


def test_a_blocking_append_and_a_check_work_from_any_thread(log):
    log.check()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: log.append_now(draft(f"id {n}")), range(8)))
    assert sorted(receipt.seq for receipt in found) == list(range(1, 9))


def test_errors_arrive_as_what_they_are(log):
    log.append_now(draft("a", idempotency_key=same_request("k")))
    with pytest.raises(RecordNotWritten, match="the id a is on record already"):
        log.append_now(draft("a"))
    with pytest.raises(KeyReused, match="another request"):
        log.append_now(draft("b", idempotency_key=same_request("k", "other")))
    with pytest.raises(RecordNotWritten, match="cannot be encoded"):
        log.append_now(draft("b", facts={"x": object()}))
    with pytest.raises(NotFound):
        log.get("b")
    assert log.append_now(draft("c", idempotency_key=same_request("k"))).repeated
    assert log.find("c", "k").id == "a"


def test_a_full_queue_is_said_remotely(log, sequencer):
    held = sequencer._store._lock
    held.acquire()

    async def many() -> list:
        asked = [asyncio.create_task(log.append(draft())) for _ in range(30)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        held.release()
        return await asyncio.gather(*asked, return_exceptions=True)

    found = run(log, many())
    refused = [one for one in found if isinstance(one, TooBusy)]
    assert refused
    assert sorted(one.seq for one in found if one not in refused) == list(range(1, 31 - len(refused)))


def test_many_share_a_connection_and_each_hears_of_its_own(log):
    async def many() -> list:
        return [
            receipt
            for _ in range(10)
            for receipt in await asyncio.gather(*(log.append(draft()) for _ in range(8)))
        ]

    found = run(log, many())
    assert sorted(receipt.seq for receipt in found) == list(range(1, 81))
    assert all(log.get(receipt.id).seq == receipt.seq for receipt in found)


def test_only_the_owner_may_open_the_socket(server, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.with_name("audit.socket.new").exists()


def test_without_a_sequencer_nothing_is_recorded_and_with_it_again_it_is(file, path):
    log = RemoteSequencer(path, store_at(file))

    async def story() -> None:
        with pytest.raises(RecordNotWritten, match="cannot be reached"):
            await log.append(draft("a"))
        sequencer = Sequencer(store_at(file))
        server = SequencerServer(sequencer, path)
        assert (await log.append(draft("a"))).seq == 1
        await asyncio.to_thread(server.close)
        with pytest.raises(RecordNotWritten):
            await log.append(draft("b"))
        server = SequencerServer(sequencer, path)
        assert (await log.append(draft("c"))).seq == 2
        await asyncio.to_thread(server.close)
        sequencer.close()

    run(log, story())
    with pytest.raises(RecordNotWritten, match="cannot be reached"):
        log.append_now(draft())
    with pytest.raises(RecordNotWritten, match="cannot be reached"):
        log.check()
    log.close()


def test_a_lost_connection_fails_what_was_under_way(log, server, sequencer):
    async def story() -> list:
        with sequencer._store._lock:
            asked = [asyncio.create_task(log.append(draft())) for _ in range(3)]
            async with asyncio.timeout(20):
                while not server._sessions:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            for session in list(server._sessions):
                server._loop.call_soon_threadsafe(session.hang_up)
            return await asyncio.gather(*asked, return_exceptions=True)

    assert [str(error) for error in run(log, story())] == [
        "the sequencer was lost; whether this is on record is not known"
    ] * 3


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 1) + b"x",
        struct.pack(">I", 2**31),
        frame(0, [["too", "short"]]),
        frame(0, {"odd": 1}),
        frame(0, [["id", "at", "kind", {}, None, None, 9]], [b"x"]),
        struct.pack(">IQI", 16, 0, 4) + b"oops",
    ],
)
def test_what_is_no_request_is_hung_up_on_and_disturbs_nobody(log, path, sent):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(5)
        stranger.connect(str(path))
        stranger.sendall(sent)
        assert stranger.recv(100) == b""
    assert log.append_now(draft()).seq == 1


def test_a_remote_log_works_on_one_event_loop_after_another(log):
    for seq in (1, 2, 3):
        assert run(log, log.append(draft())).seq == seq

"""The server: one process, or a supervisor with workers that share one port and one record.

The supervisor holds the listening socket and the record, and answers nobody. It starts workers, starts a new
one when one dies, and on SIGTERM lets them finish what they are answering before it closes the record. A
worker whose supervisor is gone stops: nobody would start it again.
"""

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import uvicorn

from features.errors import RecordNotWritten
from serving import logs
from serving.audit.checkpoint import CheckpointFile
from serving.audit.checkpointer import Checkpointer
from serving.audit.note import load_key
from serving.audit.remote import RemoteSequencer, SequencerServer
from serving.audit.retention import checked
from serving.audit.sequencer import AuditLog, Sequencer
from serving.audit.store import make_store
from serving.recorder import recorder_of
from serving.settings import ServingSettings
from serving.tracing import require_exporter

CONFIGURATION = "configuration"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
BACKLOG = 2048
LOOK_SECONDS = 0.5
PAUSE_SECONDS = 2.0
QUICK_DEATH_SECONDS = 5.0

log = logging.getLogger("salvage.server")


def serve(settings: ServingSettings) -> None:
    """Serve until a signal to stop."""
    logs.install()
    checked(settings.retention_days)
    require_exporter(settings.traces)
    with listening(settings) as shared:
        if settings.workers > 1:
            Supervisor(settings, shared).run()
            return
        record = open_log(settings)
        put_configuration_on_record(settings, record)
        try:
            answering(settings, record).run(sockets=[shared])
        finally:
            record.close()


def put_configuration_on_record(settings: ServingSettings, record: AuditLog) -> None:
    """Record the settings at start; a server whose record fails starts too, but answers nothing."""
    try:
        recorder_of(record).event(CONFIGURATION, settings.facts)
    except RecordNotWritten as error:
        log.error("the configuration is not on record", extra={"reason": str(error)})


def open_log(settings: ServingSettings) -> Sequencer:
    """Open the audit log for writing, with signed checkpoints; one process of a server does."""
    store = make_store(settings.audit)
    key, file = load_key(settings.audit_key), CheckpointFile(settings.second_place)
    return Sequencer(store, witness=Checkpointer(store, key, file))


@contextmanager
def listening(settings: ServingSettings) -> Iterator[socket.socket]:
    """Hold the listening socket, which all workers share."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        shared.bind((settings.host, settings.port))
        shared.listen(BACKLOG)
        shared.set_inheritable(True)
        yield shared


def answering(settings: ServingSettings, record: AuditLog) -> uvicorn.Server:
    """Return the HTTP server of one process; on SIGTERM it finishes what it is answering."""
    from serving.app import create_app  # noqa: PLC0415  the supervisor answers nobody, and starts sooner
    from serving.connection import BoundedConnection  # noqa: PLC0415

    config = uvicorn.Config(
        create_app(settings, record),
        loop="uvloop",
        http=BoundedConnection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    return uvicorn.Server(config)


@dataclass
class Worker:
    """A running worker: its process, and its start by time.monotonic."""

    process: SpawnProcess
    started: float


@dataclass
class Supervisor:
    """Keeps ``settings.workers`` workers answering on a socket."""

    settings: ServingSettings
    shared: socket.socket
    workers: list[Worker] = field(default_factory=list)

    def run(self) -> None:
        """Keep the workers running until told to stop, then let them finish."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        with tempfile.TemporaryDirectory(prefix="salvage-") as folder:
            record = open_log(self.settings)
            put_configuration_on_record(self.settings, record)
            lent = SequencerServer(record, Path(folder) / "record")
            try:
                self._keep(Path(folder), stop)
            finally:
                self._finish()
                lent.close()
                record.close()

    def _keep(self, folder: Path, stop: threading.Event) -> None:
        """Start workers, and replace those that die."""
        metrics = folder / "metrics"
        metrics.mkdir()
        while not stop.is_set():
            while len(self.workers) < self.settings.workers:
                self.workers.append(self._start(folder / "record", metrics))
            wait([worker.process.sentinel for worker in self.workers], LOOK_SECONDS)
            for worker in [one for one in self.workers if not one.process.is_alive()]:
                self.workers.remove(worker)
                log.error("worker died", extra={"pid": worker.process.pid, "exit": worker.process.exitcode})
                _forget(metrics, worker.process.pid)
                if time.monotonic() - worker.started < QUICK_DEATH_SECONDS:
                    stop.wait(PAUSE_SECONDS)

    def _start(self, record: Path, metrics: Path) -> Worker:
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(self.settings, self.shared, record, metrics), name="salvage-worker"
        )
        process.start()
        return Worker(process, time.monotonic())

    def _finish(self) -> None:
        """Let the workers finish their requests, and kill those that take too long."""
        for worker in self.workers:
            worker.process.terminate()
        until = time.monotonic() + self.settings.drain_seconds + PAUSE_SECONDS
        for worker in self.workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()


def work(settings: ServingSettings, shared: socket.socket, record: Path, metrics: Path) -> None:
    """Answer as one of several workers: records go through the supervisor, metrics into a shared folder."""
    os.environ[METRICS_FOLDER] = str(metrics)
    logs.install()
    remote = RemoteSequencer(record, make_store(settings.audit))
    server = answering(settings, remote)
    threading.Thread(target=_stop_without_supervisor, args=(server,), daemon=True).start()
    try:
        server.run(sockets=[shared])
    finally:
        remote.close()


def _stop_without_supervisor(server: uvicorn.Server) -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        server.should_exit = True


def _forget(metrics: Path, pid: int | None) -> None:
    """Remove a dead worker's live gauges; its counters stay."""
    for file in metrics.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)

"""Workers: fits that do not depend on each other, each in a process of its own, or here one after another."""

import importlib
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from threading import Thread
from typing import ParamSpec, Protocol, TypeVar

from features.errors import SalvageError

P = ParamSpec("P")
R = TypeVar("R")
NEEDED_BY_FITS = ("xgboost", "training.evaluate")
"""What a worker imports while it waits for its first fit, as loading them takes seconds."""


class WorkerLost(SalvageError):
    """A worker process ended before its fit was done."""


class Workers(Protocol):
    """Whoever runs fits."""

    def start(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Callable[[], R]:
        """Begin a call, soon or when its result is asked for; what is returned waits for the result."""
        ...


@dataclass(frozen=True)
class InThisProcess:
    """Runs each call here, when its result is asked for."""

    def start(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Callable[[], R]:
        """Put the call off."""
        return partial(function, *args, **kwargs)


IN_THIS_PROCESS = InThisProcess()


@dataclass(frozen=True)
class WorkerPool:
    """Processes that wait for calls, each with a thread here that hands it one call after another.

    Functions, arguments, results and errors raised on purpose travel pickled, so they are named functions
    and plain frozen data. Any other error ends its worker, which prints it.
    """

    processes: tuple[SpawnProcess, ...]
    idle: "SimpleQueue[Connection]"
    threads: ThreadPoolExecutor

    @classmethod
    def of(cls, jobs: int) -> "WorkerPool":
        """Start so many processes, which do not inherit anything, and do not wait for them."""
        context, idle = get_context("spawn"), SimpleQueue[Connection]()
        processes = []
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()  # so that this end breaks when the worker ends
            processes.append(process)
            idle.put(ours)
        return cls(tuple(processes), idle, ThreadPoolExecutor(jobs))

    def start(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Callable[[], R]:
        """Hand the call to the next idle worker.

        Waiting for the result raises what the call raised on purpose, or WorkerLost.
        """
        return self.threads.submit(self._call, partial(function, *args, **kwargs)).result

    def stop(self) -> None:
        """End the processes, whatever they are doing."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for process in self.processes:
            process.terminate()
        self.threads.shutdown()
        for process in self.processes:
            process.join()
            self.idle.get().close()

    def _call(self, call: Callable[[], R]) -> R:
        worker = self.idle.get()
        try:
            worker.send(call)
            result, error = worker.recv()
        except (EOFError, OSError) as lost:
            raise WorkerLost(
                "a worker process ended before its fit was done; where it printed no error, memory ran out: "
                "give fewer --jobs"
            ) from lost
        finally:
            self.idle.put(worker)
        if error is not None:
            raise error
        answer: R = result
        return answer


@contextmanager
def start_workers(jobs: int) -> Iterator[Workers]:
    """Start so many worker processes; for one job there is none, and calls run in this process.

    Leaving, by an error or Ctrl-C too, ends them. They also end by themselves when this process is killed.
    """
    if jobs == 1:
        yield IN_THIS_PROCESS
        return
    pool = WorkerPool.of(jobs)
    try:
        yield pool
    finally:
        pool.stop()


def available_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _work(calls: Connection) -> None:
    """Answer calls until there are no more.

    Ctrl-C reaches every process of a terminal; what follows from it is the parent's to decide.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    for name in NEEDED_BY_FITS:
        importlib.import_module(name)
    while True:
        try:
            call = calls.recv()
        except EOFError:
            return
        calls.send(_answer(call))


def _answer(call: Callable[[], object]) -> tuple[object, SalvageError | None]:
    try:
        return call(), None
    except SalvageError as error:
        return None, error


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

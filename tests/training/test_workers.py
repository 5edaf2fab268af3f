"""Workers: the same bits by any number of them, errors that arrive whole, and nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from features.errors import InvalidCohort, NotFittable
from tests.lib.fitting import PLAN, small_evaluation
from tests.lib.patients import protocol
from tests.serving.several import several_cohort, study
from training.fit import fit_models, read_outcomes
from training.scope import in_scope
from training.workers import IN_THIS_PROCESS, WorkerLost, available_cpus, start_workers

HEAVY = {"mlflow", "matplotlib", "optuna", "shap"}
PARENT = """
import time
from training.workers import start_workers
with start_workers(2) as workers:
    answers = [workers.start(time.sleep, 600) for _ in range(2)]
    print(*(process.pid for process in workers.processes), flush=True)
    answers[0]()
"""


def loaded():
    return {name.partition(".")[0] for name in sys.modules}


def wait_until(holds, seconds=60.0):
    """Return whether something comes to hold in time."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def two():
    with start_workers(2) as workers:
        yield workers


def same(first, second):
    for name, endpoint in first.endpoints.items():
        held_out = second.endpoints[name].held_out
        for model, predicted in endpoint.held_out.predictions.items():
            np.testing.assert_array_equal(held_out.predictions[model], predicted)


def test_held_out_predictions_and_metrics_are_those_of_one_process(two, cohort, evaluation):
    again = small_evaluation(cohort, workers=two)[1]
    same(evaluation, again)
    assert again.as_dict() == evaluation.as_dict()


@pytest.mark.slow
def test_held_out_predictions_of_competing_risks_and_response_are_those_of_one_process(two):
    asked = replace(study(), endpoints=("relapse_and_non_relapse_mortality", "response"))
    alone, together = (small_evaluation(several_cohort(), asked, w)[1] for w in (IN_THIS_PROCESS, two))
    same(alone, together)


def test_calls_run_in_other_processes(two):
    answers = [two.start(os.getpid) for _ in range(4)]
    assert os.getpid() not in {answer() for answer in answers}


def test_one_job_is_this_process_and_calls_wait_until_they_are_asked_for():
    with start_workers(1) as workers:
        assert workers is IN_THIS_PROCESS
        done = []
        answer = workers.start(done.append, 1)
        assert done == []
        answer()
        assert done == [1]


def test_errors_raised_on_purpose_arrive_with_their_fields(two, cohort):
    other = replace(cohort, provenance=(replace(cohort.provenance[0], index_event="diagnosis"),))
    with pytest.raises(InvalidCohort) as expected:
        in_scope(other, protocol())
    with pytest.raises(InvalidCohort) as arrived:
        two.start(in_scope, other, protocol())()
    assert arrived.value.problems == expected.value.problems
    assert (str(arrived.value), arrived.value.subject) == (str(expected.value), expected.value.subject)


def test_a_fit_that_is_refused_is_refused_in_the_same_words(two, cohort):
    few = cohort.take(np.arange(5))
    words = []
    for workers in (IN_THIS_PROCESS, two):
        outcomes = read_outcomes(few, protocol())
        with pytest.raises(NotFittable) as refused:
            workers.start(fit_models, few, outcomes, protocol=protocol(), plan=PLAN)()
        words.append(str(refused.value))
    assert words[0] == words[1]


def test_workers_load_neither_figures_nor_tracking_nor_search(two):
    assert {"xgboost", "training"} <= two.start(loaded)()
    assert not HEAVY & two.start(loaded)()


def test_a_worker_that_ends_is_an_error_and_nobody_waits_for_it():
    with start_workers(2) as workers:
        killed, mistaken = workers.start(os._exit, 3), workers.start(int, "no number")
        for answer in (killed, mistaken, workers.start(os.getpid)):
            with pytest.raises(WorkerLost, match="--jobs"):
                answer()


def test_an_error_ends_workers_whatever_they_are_doing():
    seen = []

    def interrupted():
        with start_workers(2) as workers:
            seen.extend(workers.processes)
            for _ in range(5):
                workers.start(time.sleep, 600)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(seen) == 2
    assert not any(process.is_alive() for process in seen)


def heed_interrupts() -> None:
    """Undo what a shell does to the commands that it starts in the background: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(how):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )
    try:
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        time.sleep(1.0)
        # Ctrl-C reaches every process of the terminal, other signals the parent alone
        (os.killpg if how == signal.SIGINT else os.kill)(parent.pid, how)
        parent.wait(60)
        assert wait_until(lambda: not any(map(runs, workers)))
    finally:
        parent.kill()
        parent.communicate()


def test_as_many_cpus_are_available_as_the_scheduler_gives():
    assert 1 <= available_cpus() <= os.cpu_count()

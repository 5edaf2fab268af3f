"""How long a simulated cohort takes: ``python -m tests.benchmarks.cohorts --json [--patients N]``.

Prints one JSON object. Keys keep their names (1m) when fewer patients are asked for; ``patients`` says how
many.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.cohort import Cohort
from features.simulation.check import check_simulation
from features.simulation.simulate import simulate

T = TypeVar("T")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, round(time.perf_counter() - started, 2)


def measure(patients: int, per_arm: int) -> dict[str, float | int]:
    simulated, simulating = timed(lambda: simulate(patients, seed=1))
    cohort = simulated.cohort
    with tempfile.TemporaryDirectory() as folder:
        cohort.write(Path(folder) / "cohort.parquet")
        stored = pq.read_table(Path(folder) / "cohort.parquet")
    typed = {pa.bool_(): pd.BooleanDtype()}
    table = stored.to_pandas(strings_to_categorical=True, types_mapper=typed.get)
    validated, validating = timed(lambda: Cohort.from_frame(table, dictionary=cohort.dictionary))
    assert len(validated) == patients
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    checks = check_simulation(patients_per_arm=per_arm, seed=1)
    return {
        "patients": patients,
        "simulate_1m_seconds": simulating,
        "validate_1m_seconds": validating,
        "peak_memory_gb": round(peak / 1e9, 2),
        "arms_checked": len(checks),
        "arms_within_tolerance": sum(check.within for check in checks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the simulation and validation of a cohort.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--patients", type=int, default=1_000_000)
    parser.add_argument("--per-arm", type=int, default=20_000, help="patients drawn per arm in the check")
    given = parser.parse_args()
    measured = measure(given.patients, given.per_arm)
    lines = [json.dumps(measured)] if given.json else [f"{name}: {value}" for name, value in measured.items()]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()

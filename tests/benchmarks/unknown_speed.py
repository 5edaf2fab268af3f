"""What unknown values cost: python -m tests.benchmarks.unknown_speed [--json] [--rounds N]

One patient, of whom everything, all but one value, all but three, and nothing but the disease is known, asked
in turns of a server that explains and records every answer (``over_http``), and of the same bundle in process
(``in_process``). Figures are the median time over that of the complete patient.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from models.bundle.bundle import ModelBundle
from tests.benchmarks.serving import HOST, NAME, free_port, publish, running, three_endpoints
from tests.serving.several import EXAMINED

LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "complete": (),
    "one_number": ("age",),
    "one_flag": ("prior_chemotherapy",),
    "three": ("age", "albumin", "tumour_grade"),
    "all": tuple(name for name in EXAMINED if name != "disease"),
}


def patients() -> dict[str, dict[str, object]]:
    return {
        name: {field: value for field, value in EXAMINED.items() if field not in out}
        for name, out in LEFT_OUT.items()
    }


def ratios(ask: Callable[[dict[str, object]], object], rounds: int) -> dict[str, float]:
    """Return each patient's median time over the complete one's."""
    asked, seconds = patients(), {name: list[float]() for name in LEFT_OUT}
    for turn in range(rounds + 20):
        for name, patient in asked.items():
            started = time.perf_counter()
            ask(patient)
            if turn >= 20:  # the first ones compile and prepare
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(own) for name, own in seconds.items()}
    found = {name: round(own / medians["complete"], 2) for name, own in medians.items() if name != "complete"}
    return found | {"complete_ms": round(1000.0 * medians["complete"], 2)}


def over_http(bundle: ModelBundle, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder), free_port()
        publish(bundle, home)
        command = [sys.executable, "-m", "salvage", "serve", "--demo", "--port", str(port)]
        with running(command, port, "/health/ready", SALVAGE_HOME=str(home)):
            connection = http.client.HTTPConnection(HOST, port)

            def ask(patient: dict[str, object]) -> bytes:
                body = json.dumps({"model": NAME, "patient": patient})
                connection.request("POST", "/v1/predictions", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 200:
                    raise SystemExit(content.decode())
                return content

            return ratios(ask, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    made = three_endpoints()
    made.prepare()
    result = {"in_process": ratios(made.answer, options.rounds), "over_http": over_http(made, options.rounds)}
    print(json.dumps(result, indent=None if options.json else 1))  # noqa: T201

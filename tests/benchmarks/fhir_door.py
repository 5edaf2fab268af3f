"""How long the FHIR door takes: Bundles of 50 resources on one core.

Run ``python -m tests.benchmarks.fhir_door --json``.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

from features.sources.build import build_cohort
from features.sources.fhir import FhirRecipe

LABS = (
    ("1751-7", "g/dL", 3.9),
    ("718-7", "g/dL", 11.0),
    ("777-3", "10*3/uL", 210.0),
    ("2532-0", "U/L", 300.0),
)
DRUGS = (("3639", "doxorubicin"), ("56946", "paclitaxel"), ("2555", "cisplatin"))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundles", type=int, default=1000)
    parser.add_argument("--resources", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(asked.bundles):
            content = orjson.dumps(bundle(number, resources=asked.resources))
            (Path(folder) / f"{number:06d}.json").write_bytes(content)
        started = time.perf_counter()
        cohort = build_cohort(FhirRecipe(evidence="synthetic"), folder)
        seconds = time.perf_counter() - started
    if len(cohort) != asked.bundles:
        raise SystemExit(f"expected {asked.bundles} patients, read {len(cohort)}")
    said = {
        "bundles": asked.bundles,
        "resources": asked.bundles * asked.resources,
        "seconds": round(seconds, 3),
    }
    sys.stdout.write(json.dumps(said) + "\n" if asked.json else f"{said}\n")
    return 0


def bundle(number: int, *, resources: int) -> dict[str, Any]:
    """Return a made patient with breast cancer, treated, progressed and followed."""
    patient = f"p{number}"
    subject = {"subject": {"reference": f"Patient/{patient}"}}
    made: list[dict[str, Any]] = [
        {"resourceType": "Patient", "id": patient, "gender": "female", "birthDate": "1961-03-04"},
        {"resourceType": "Condition", "id": "c", "onsetDateTime": "2018-02-01",
         "code": _concept("http://snomed.info/sct", "254837009"), **subject},
        {"resourceType": "Observation", "id": "w", "status": "final", "effectiveDateTime": "2020-06-01",
         "code": _concept("http://loinc.org", "97509-4"),
         "valueCodeableConcept": _concept("http://snomed.info/sct", "271299001"), **subject},
        {"resourceType": "Observation", "id": "e", "status": "final", "effectiveDateTime": "2020-05-20",
         "code": _concept("http://loinc.org", "89247-1"), "valueInteger": 1, **subject},
        {"resourceType": "Encounter", "id": "last", "period": {"end": "2022-01-01"}, **subject},
    ]  # fmt: skip
    for extra in range(resources - len(made)):
        made.append(_dose(extra, subject) if extra % 5 == 0 else _lab(extra, subject))
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in made]}


def _lab(number: int, subject: dict[str, Any]) -> dict[str, Any]:
    loinc, unit, value = LABS[number % len(LABS)]
    day = f"20{18 + number % 4}-{1 + number % 12:02d}-11"
    quantity = {"value": value, "unit": unit, "code": unit, "system": "http://unitsofmeasure.org"}
    return {"resourceType": "Observation", "id": f"o{number}", "status": "final", "effectiveDateTime": day,
            "code": _concept("http://loinc.org", loinc), "valueQuantity": quantity, **subject}  # fmt: skip


def _dose(number: int, subject: dict[str, Any]) -> dict[str, Any]:
    code, name = DRUGS[number % len(DRUGS)]
    drug = _concept("http://www.nlm.nih.gov/research/umls/rxnorm", code, name)
    return {"resourceType": "MedicationAdministration", "id": f"m{number}", "status": "completed",
            "effectiveDateTime": f"2018-{1 + number % 12:02d}-02", "medicationCodeableConcept": drug,
            **subject}  # fmt: skip


def _concept(system: str, code: str, display: str = "") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

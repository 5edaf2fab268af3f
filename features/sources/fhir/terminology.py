"""The code maps of ``terminology.yaml``, joined with the codes that the dictionary declares."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import yaml

from features.dictionary import Dictionary, load_dictionary
from features.sources.fhir.element import Element, codes, words

Code = tuple[str, str]
Patterns = tuple[tuple[re.Pattern[str], str], ...]


@dataclass(frozen=True)
class Drug:
    """A drug against cancer and its classes; without a class it is given along and never makes a line."""

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Terminology:
    """What codes and words stand for."""

    maps: Mapping[str, Any]
    conditions: Mapping[Code, str]
    fields: Mapping[Code, str]
    answers: Mapping[str, int]
    drugs: Mapping[str, Drug]
    drug_codes: Mapping[str, Drug]
    procedure_codes: Mapping[str, str]
    procedure_words: Patterns
    histology: Patterns
    lung_histology: Patterns
    _seen: dict[tuple[str, str], Drug | None] = field(default_factory=dict)

    def condition(self, concept: Element) -> str | None:
        """Return what a Condition's code stands for, None where it is no cancer we know.

        An ICD-10 code stands for its longest known beginning, so C50.811 is C50.
        """
        for system, code in codes(concept):
            if system == "icd10":
                found = self._icd10(code.replace(".", "").upper())
            else:
                found = self.conditions.get((system, code))
            if found is not None:
                return found
        return None

    def _icd10(self, code: str) -> str | None:
        beginnings = (code[:length] for length in range(len(code), 0, -1))
        return next(
            (self.conditions[("icd10", b)] for b in beginnings if ("icd10", b) in self.conditions), None
        )

    def drug(self, concept: Element) -> Drug | None:
        """Return the drug a medication's RxNorm code or words name; the first by code, then by name."""
        said, coded = words(concept), " ".join(code for system, code in codes(concept) if system == "rxnorm")
        key = (coded, said)
        if key not in self._seen:
            by_code = (self.drug_codes[code] for code in coded.split() if code in self.drug_codes)
            by_name = (drug for name, drug in self.drugs.items() if name in said)
            self._seen[key] = next(by_code, None) or next(by_name, None)
        return self._seen[key]

    def procedure(self, concept: Element) -> str | None:
        """Return the kind of treatment a procedure is, None where it is none of ours."""
        for system, code in codes(concept):
            if system == "snomed" and code in self.procedure_codes:
                return self.procedure_codes[code]
        return first_match(self.procedure_words, words(concept))


def first_match(patterns: Patterns, text: str) -> str | None:
    """Return what the first pattern found in the text stands for."""
    return next((meaning for pattern, meaning in patterns if pattern.search(text)), None)


@cache
def load_terminology() -> Terminology:
    """Return the code maps."""
    text = resources.files("features.sources.fhir").joinpath("terminology.yaml").read_text(encoding="utf-8")
    maps = yaml.load(text, Loader=yaml.CSafeLoader)
    drugs = {name: Drug(name, tuple(entry["classes"])) for name, entry in maps["drugs"].items()}
    answers = {
        answer: value
        for value, sign in enumerate(("negative", "positive"))
        for answer in (*maps["answers"][sign], *maps["answers"][f"{sign}_words"])
    }
    return Terminology(
        maps=maps,
        conditions=_conditions(maps["conditions"], load_dictionary()),
        fields=_field_codes(maps["also_read"], load_dictionary()),
        answers=answers,
        drugs=drugs,
        drug_codes={code: drugs[n] for n, entry in maps["drugs"].items() for code in entry.get("rxnorm", ())},
        procedure_codes={
            code: kind for kind, entry in maps["procedures"].items() for code in entry["snomed"]
        },
        procedure_words=_patterns([(entry["words"], kind) for kind, entry in maps["procedures"].items()]),
        histology=_patterns(maps["histology"]),
        lung_histology=_patterns(maps["lung_histology"]),
    )


def _patterns(pairs: Any) -> Patterns:
    return tuple((re.compile(pattern), meaning) for pattern, meaning in pairs)


def _conditions(declared: Mapping[str, Mapping[str, str]], dictionary: Dictionary) -> dict[Code, str]:
    named = {
        (system, code.replace(".", "")): category.name
        for category in dictionary["disease"].categories
        for system, code in category.codes.items()
    }
    return named | {
        (system, code): meaning for system, entries in declared.items() for code, meaning in entries.items()
    }


def _field_codes(declared: Mapping[str, Mapping[str, str]], dictionary: Dictionary) -> dict[Code, str]:
    """Return the field of every code that an Observation may carry; outcomes and the plan are not read so."""
    named = {
        (system, code): field.name
        for field in dictionary.fields
        if field.group not in ("plan", "outcome") and field.name not in ("age", "sex")
        for system, code in field.codes.items()
    }
    return named | {
        (system, code): name for system, entries in declared.items() for code, name in entries.items()
    }

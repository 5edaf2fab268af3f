"""The code maps of ``terminology.yaml``, with the codes that the dictionary declares."""

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
    """An antineoplastic drug and its classes; one without a class is supportive and never starts a line."""

    name: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Terminology:
    """Maps from codes and words to diseases, fields, drugs, procedures and test results."""

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
        """Return the meaning of a Condition's code, None where it is not a known cancer.

        An ICD-10 code is looked up by its longest known prefix: C50.811 by C50.
        """
        for system, code in codes(concept):
            if system == "icd10":
                meaning = self._icd10(code.replace(".", "").upper())
            else:
                meaning = self.conditions.get((system, code))
            if meaning is not None:
                return meaning
        return None

    def _icd10(self, code: str) -> str | None:
        beginnings = (code[:length] for length in range(len(code), 0, -1))
        return next(
            (self.conditions[("icd10", b)] for b in beginnings if ("icd10", b) in self.conditions), None
        )

    def drug(self, concept: Element) -> Drug | None:
        """Return a medication's drug by RxNorm code, else by name; None where neither is known."""
        named, coded = words(concept), " ".join(code for system, code in codes(concept) if system == "rxnorm")
        key = (coded, named)
        if key not in self._seen:
            by_code = (self.drug_codes[code] for code in coded.split() if code in self.drug_codes)
            by_name = (drug for name, drug in self.drugs.items() if name in named)
            self._seen[key] = next(by_code, None) or next(by_name, None)
        return self._seen[key]

    def procedure(self, concept: Element) -> str | None:
        """Return a procedure's kind of treatment by SNOMED CT code, else by its words; None where unknown."""
        for system, code in codes(concept):
            if system == "snomed" and code in self.procedure_codes:
                return self.procedure_codes[code]
        return first_match(self.procedure_words, words(concept))


def first_match(patterns: Patterns, text: str) -> str | None:
    """Return the meaning of the first pattern that the text matches."""
    return next((meaning for pattern, meaning in patterns if pattern.search(text)), None)


@cache
def load_terminology() -> Terminology:
    """Return the package's terminology."""
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
    """Return each Observation code's field; outcomes and plans are not read from Observations."""
    named = {
        (system, code): field.name
        for field in dictionary.fields
        if field.group not in ("plan", "outcome") and field.name not in ("age", "sex")
        for system, code in field.codes.items()
    }
    return named | {
        (system, code): name for system, entries in declared.items() for code, name in entries.items()
    }

"""Reading the value of an Observation or component as a dictionary field's value."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from features.dictionary import Field
from features.sources.fhir.element import Element, child, codes, number, string, words
from features.sources.fhir.terminology import load_terminology
from features.sources.fhir.units import expected_units, factor
from features.units import asked, likeliest_unit, rescaled, suspected_unit

PlainValue = float | int | bool | str
STAGE = re.compile(r"\b(?:stage\s*)?(iv|iii|ii|i|[1-4])(?:[a-e]?\d?)?\b")
STAGE_IN_TEXT = re.compile(r"\bstage\s*(iv|iii|ii|i|[1-4])")
GRADE = re.compile(r"\bgrade\s*(iv|iii|ii|i|[1-4])\b")
ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}


@dataclass(frozen=True)
class FieldValue:
    """A field's value, or its problem and remedy; neither where the answer is unknown. A remark is noted.

    ``unit_in_question`` tells that the problem is the unit: it is missing, or the number fits another better.
    """

    value: PlainValue | None = None
    problem: str | None = None
    remedy: str = ""
    remark: str | None = None
    unit_in_question: bool = False


def read_value(field: Field, element: Element) -> FieldValue:
    """Return the field's value from ``value[x]``, checked against the dictionary."""
    read = READERS.get(field.name) or (_coded if field.type == "category" else _number)
    value = read(field, element)
    if value.value is None or not (faults := field.read([value.value]).faults):
        return value
    return FieldValue(problem=f"{field.name} is {next(iter(faults))}", remedy=f"expected {field.expected}")


def _number(field: Field, element: Element) -> FieldValue:
    whole = number(element, "valueInteger")
    quantity = child(element, "valueQuantity")
    amount = number(quantity, "value") if whole is None else whole
    if amount is None:
        return FieldValue(remark=f"{field.name}: an Observation without a number is not read")
    unit = (string(quantity, "code") or string(quantity, "unit"))[:40]
    by = 1.0 if whole is not None and not rescaled(field) else factor(field, unit)
    if by is None:
        return _unreadable_unit(field, amount, unit)
    if other := suspected_unit(field, amount, factor=by):
        return FieldValue(
            problem=f"{field.name} {asked(field, other, own=unit)}",
            remedy=f"correct its unit or its value; {expected_units(field)}",
            unit_in_question=True,
        )
    bound = string(quantity, "comparator")
    remark = f"{field.name}: a value stated as a bound (< or >) is read as the bound" if bound else None
    return FieldValue(_typed(field, amount * by), remark=remark)


def _unreadable_unit(field: Field, amount: float, unit: str) -> FieldValue:
    """Return the problem of a unit that the dictionary cannot convert, or of none."""
    if unit:
        return FieldValue(problem=f"{field.name} is in {unit}", remedy=expected_units(field))
    likeliest = likeliest_unit(field, amount)
    question = f": did you mean {likeliest}?" if likeliest else ""
    return FieldValue(
        problem=f"{field.name} has no unit{question}",
        remedy=expected_units(field),
        unit_in_question=rescaled(field),
    )


def _typed(field: Field, amount: float) -> PlainValue:
    return int(amount) if field.type == "integer" and amount.is_integer() else amount


def _coded(field: Field, element: Element) -> FieldValue:
    """Read a negative or positive test result as the first or second of the field's two categories."""
    answers = load_terminology().answers
    concept = child(element, "valueCodeableConcept")
    results = [code for _, code in codes(concept)]
    results += [part.split(" (")[0].strip() for part in words(concept).split("|")]
    results.append(string(element, "valueString").strip().lower())
    sign = next((answers[answer] for answer in results if answer in answers), None)
    if sign is None or len(field.categories) != 2:
        return _unknown(field)
    return FieldValue(field.category_names[sign])


def _score(field: Field, element: Element) -> FieldValue:
    """Read a score given as a number, or as a LOINC answer (ECOG)."""
    score = number(element, "valueInteger")
    score = number(child(element, "valueQuantity"), "value") if score is None else score
    if score is None:
        listed = load_terminology().maps["ecog"]
        answers = codes(child(element, "valueCodeableConcept"))
        score = next((float(listed[code]) for _, code in answers if code in listed), None)
    if score is None or not score.is_integer():
        return _unknown(field)
    name = f"{field.name}_{int(score)}"
    if name in field.category_names:
        return FieldValue(name)
    if field.name == "ecog" and score == 5:
        return FieldValue(remark="ecog: grade 5 (dead) is not a performance status")
    return FieldValue(problem=f"{field.name} is out of range", remedy=f"expected {field.expected}")


def _stage(field: Field, element: Element) -> FieldValue:
    concept = child(element, "valueCodeableConcept")
    listed = load_terminology().maps["stages"]
    by_code = next((listed[code].lower() for _, code in codes(concept) if code in listed), "")
    text = " | ".join(part for part in (words(concept), string(element, "valueString").lower()) if part)
    bare = " | ".join(code.lower() for _, code in codes(concept) if len(code) <= 5)
    stage = (
        STAGE.match(by_code) or STAGE_IN_TEXT.search(text) or STAGE.fullmatch(text) or STAGE.fullmatch(bare)
    )
    return FieldValue(f"stage_{_ordinal(stage[1])}") if stage else _unknown(field)


def _grade(field: Field, element: Element) -> FieldValue:
    concept = child(element, "valueCodeableConcept")
    grade = GRADE.search(words(concept)) or GRADE.search(string(element, "valueString").lower())
    return FieldValue(f"grade_{_ordinal(grade[1])}") if grade else _unknown(field)


def _ordinal(text: str) -> int:
    return ROMAN[text] if text in ROMAN else int(text)


def _smoking(field: Field, element: Element) -> FieldValue:
    answers = {code for _, code in codes(child(element, "valueCodeableConcept"))}
    listed = load_terminology().maps["smoking"]
    habit = next((name for name, known in listed.items() if answers & set(known)), None)
    return FieldValue(habit) if habit else _unknown(field)


def _unknown(field: Field) -> FieldValue:
    return FieldValue(remark=f"{field.name}: an answer that is none we know is not read")


READERS: dict[str, Callable[[Field, Element], FieldValue]] = {
    "ecog": _score,
    "deauville": _score,
    "stage_at_relapse": _stage,
    "tumour_grade": _grade,
    "smoking": _smoking,
}

"""Treatment: drugs by class, radiation, surgery, transplants and cellular therapy, given or planned."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from features.dictionary import load_dictionary
from features.sources.fhir.element import child, children, codes, string
from features.sources.fhir.findings import Findings
from features.sources.fhir.resources import DatedResource, PatientRecord
from features.sources.fhir.terminology import Drug, load_terminology

GIVEN = ("MedicationAdministration", "MedicationStatement", "MedicationRequest")
DRUG_FLAGS = (
    "chemotherapy", "immunotherapy", "targeted_therapy", "anthracycline", "taxane", "platinum",
    "rituximab", "bevacizumab", "endocrine_therapy", "levamisole",
)  # fmt: skip
PROCEDURE_FLAGS = ("radiation", "surgery", "autologous_transplant", "allogeneic_transplant")


@dataclass(frozen=True)
class Dose:
    """An antineoplastic drug on a day: administered, stated or ordered."""

    item: DatedResource
    drug: Drug
    when: date


@dataclass(frozen=True)
class Intervention:
    """An anticancer procedure on a day."""

    item: DatedResource
    kind: str
    when: date


def read_doses(record: PatientRecord, findings: Findings) -> list[Dose]:
    """Return antineoplastic drugs in order of day; other drugs and undated ones are noted."""
    doses = []
    for item in record.of(*GIVEN):
        drug = load_terminology().drug(item.entry.medication)
        if drug is None:
            coding = codes(item.entry.medication)
            code = f"{coding[0][0][:60]} {coding[0][1][:40]}" if coding else "without a code"
            findings.note(f"medication {code} is not a cancer drug we know")
        elif item.when is None:
            findings.note("an undated drug against cancer is not read")
        else:
            doses.append(Dose(item, drug, item.when))
    return sorted(doses, key=lambda dose: (dose.when, dose.drug.name))


def read_interventions(record: PatientRecord, findings: Findings) -> list[Intervention]:
    """Return anticancer procedures in order of day; other procedures and undated ones are noted."""
    interventions = []
    for item in record.of("Procedure"):
        kind = _procedure_kind(item)
        if kind is None:
            coding = codes(child(item.resource, "code"))
            code = f"{coding[0][0][:60]} {coding[0][1][:40]}" if coding else "without a code"
            findings.note(f"procedure {code} is no treatment of cancer we know")
        elif item.when is None:
            findings.note(f"undated {kind} is not read")
        else:
            interventions.append(Intervention(item, kind, item.when))
    return sorted(interventions, key=lambda i: (i.when, i.kind))


def _procedure_kind(item: DatedResource) -> str | None:
    profiles = child(item.resource, "meta").get("profile")
    names = [p for p in profiles if isinstance(p, str)] if isinstance(profiles, list) else []
    if any(name.endswith("mcode-cancer-related-surgical-procedure") for name in names):
        return "surgery"
    return load_terminology().procedure(child(item.resource, "code"))


def prior_treatment(
    doses: Sequence[Dose], interventions: Sequence[Intervention], *, index: date
) -> dict[str, bool]:
    """Return flags of the treatment given before the index date.

    A class of drug is false only where any drug is recorded, a kind of procedure only where any procedure is;
    else the flags are missing.
    """
    flags: dict[str, bool] = {}
    earlier = [dose for dose in doses if dose.when < index]
    done = [i.kind for i in interventions if i.when < index]
    classes = {name for dose in earlier for name in dose.drug.classes}
    if earlier:
        flags |= {f"prior_{name}": name in classes for name in DRUG_FLAGS}
    if done:
        flags |= {f"prior_{name}": name in done for name in PROCEDURE_FLAGS}
    if "cellular_therapy" in classes or "cellular_therapy" in done:
        flags["prior_cellular_therapy"] = True
    elif earlier and done:
        flags["prior_cellular_therapy"] = False
    return flags


def last_transplant(interventions: Iterable[Intervention], *, index: date) -> date | None:
    """Return the day of the last transplant before the index date."""
    return max(
        (i.when for i in interventions if i.kind.endswith("transplant") and i.when < index), default=None
    )


def planned(drafts: Sequence[DatedResource], *, index: date | None) -> dict[str, bool]:
    """Return the plan's flags from draft orders and proposals, undated or dated from the index date on.

    All are true: a draft of one drug does not rule out others.
    """
    names = {name for item in drafts if _ahead(item, index) for name in plan_of(item)}
    return dict.fromkeys(sorted(names), True)


def plan_of(item: DatedResource) -> set[str]:
    """Return the plan fields that one order's codes map to."""
    drug = load_terminology().drug(item.entry.medication)
    concepts = [child(item.resource, "code"), *children(item.resource, "code")]
    names = set(drug.classes) if drug else set[str]()
    names |= {kind for concept in concepts if (kind := load_terminology().procedure(concept))}
    return {f"plan_{name}" for name in names if f"plan_{name}" in load_dictionary()}


def unread_orders(drafts: Sequence[DatedResource]) -> tuple[str, ...]:
    """Return the draft orders that map to no plan field; a regimen counts as read by its drafted members."""
    drafted = {item.reference for item in drafts}
    return tuple(
        item.reference for item in drafts if not plan_of(item) and not drafted.intersection(_members(item))
    )


def _members(item: DatedResource) -> set[str]:
    resources = (child(action, "resource") for action in children(item.resource, "action"))
    return {item.entry.scope.resolve(string(resource, "reference")) for resource in resources}


def _ahead(item: DatedResource, index: date | None) -> bool:
    return not (index and item.when and item.when < index)

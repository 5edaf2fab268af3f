"""Conditions: the cancer treated, when it was diagnosed, its histology, and where it has spread."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from features.sources.fhir.element import child, children, codes, extension, words
from features.sources.fhir.findings import Findings
from features.sources.fhir.resources import DatedResource, PatientRecord
from features.sources.fhir.terminology import first_match, load_terminology

RELAPSING = frozenset({"recurrence", "relapse"})
GONE = frozenset({"resolved", "inactive", "remission"})
SITES = ("site_liver", "site_lung", "site_bone", "site_brain", "site_peritoneum", "site_marrow",
         "site_lymph_nodes")  # fmt: skip
OUTSIDE = "outside"
ELSEWHERE, SOMEWHERE = "secondary", "somewhere"


@dataclass(frozen=True)
class Cancer:
    """One cancer Condition: its disease (None where the record does not tell which), site and status."""

    item: DatedResource
    meaning: str
    disease: str | None
    status: str

    @property
    def metastatic(self) -> bool:
        """Tell whether this is a metastasis, not a primary."""
        return self.meaning in (ELSEWHERE, SOMEWHERE, *SITES)

    @property
    def relapsing(self) -> bool:
        """Tell whether the Condition says that the cancer came back."""
        return self.status in RELAPSING

    @property
    def reference(self) -> str:
        """Return how other resources refer to it."""
        return f"Condition/{self.item.resource.get('id')}"


def read_cancers(record: PatientRecord, findings: Findings) -> list[Cancer]:
    """Return the cancers among the Conditions, in the order of their days."""
    found = []
    for item in record.of("Condition"):
        meaning = load_terminology().condition(child(item.resource, "code"))
        if meaning is None:
            said = codes(child(item.resource, "code"))
            findings.note("Condition code {} {} is not a cancer we know".format(*_short(said)))
            continue
        status = codes(child(item.resource, "clinicalStatus"))
        disease = _disease(meaning, item, findings)
        found.append(Cancer(item, meaning, disease, status[0][1] if status else ""))
    return sorted(found, key=lambda c: (c.item.when or date.min, c.item.entry.label))


def _short(said: Sequence[tuple[str, str]]) -> tuple[str, str]:
    return (said[0][0][:60], said[0][1][:40]) if said else ("without", "system")


def _disease(meaning: str, item: DatedResource, findings: Findings) -> str | None:
    """Return the dictionary's disease, decided by body site and histology where the code leaves it open."""
    if meaning in (OUTSIDE, ELSEWHERE, SOMEWHERE, *SITES):
        return None
    if meaning == "unspecified":
        sites = load_terminology().maps["body_sites"]
        said = [code for place in children(item.resource, "bodySite") for _, code in codes(place)]
        meaning = next((sites[code] for code in said if code in sites), meaning)
    decided = meaning
    if meaning == "lung":
        decided = first_match(load_terminology().lung_histology, _histology(item)) or ""
    elif meaning == "brain":
        told = _histology(item)
        decided = "glioblastoma" if "glioblastoma" in told else "other_cns_tumour" if told else ""
    if decided in ("", "unspecified"):
        findings.note(f"a cancer ({meaning}) whose histology or site is not recorded has no disease here")
        return None
    return decided


def _histology(item: DatedResource) -> str:
    told = child(extension(item.resource, "histology-morphology-behavior"), "valueCodeableConcept")
    return " | ".join((words(told), words(child(item.resource, "code"))))


def histology(cancer: Cancer) -> str | None:
    """Return the dictionary's histology, from the mCODE extension's words."""
    told = child(extension(cancer.item.resource, "histology-morphology-behavior"), "valueCodeableConcept")
    return first_match(load_terminology().histology, words(told))


def treated_cancer(
    cancers: Sequence[Cancer], *, index: date | None, evidence: frozenset[str], findings: Findings
) -> Cancer | None:
    """Return the cancer treated: the one that the relapse names, or the latest diagnosed by then."""
    known = [c for c in cancers if not c.metastatic and (c.item.when is None or c.item.by(index))]
    told = [c for c in known if c.disease or c.meaning == OUTSIDE]
    named = [c for c in told if c.reference in evidence]
    chosen = (named or told or known)[-1:]
    diseases = {c.disease for c in known if c.disease}
    if len(diseases) > 1 and not named:
        findings.note("several primary cancers: the latest diagnosed is taken as the one treated")
    return chosen[0] if chosen else None


def diagnosed(cancers: Sequence[Cancer], treated: Cancer) -> date | None:
    """Return the first day of the treated disease; a Condition that is the relapse tells nothing of it."""
    days = [
        c.item.when
        for c in cancers
        if c.disease == treated.disease and c.item.when and not c.metastatic and not c.relapsing
    ]
    return min(days, default=None)


def metastases(cancers: Sequence[Cancer], *, index: date | None) -> dict[str, bool]:
    """Return the sites of metastasis at the index date.

    Where metastases are recorded with their organs, a site that is not recorded is free. Where none is
    recorded, or one without its organ, that is not known.
    """
    spread = [c for c in cancers if c.metastatic and c.item.by(index) and c.status not in GONE]
    if not spread:
        return {}
    sites = {c.meaning for c in spread}
    return {site: site in sites for site in SITES if site in sites or SOMEWHERE not in sites}

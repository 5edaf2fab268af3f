"""Conditions: the treated cancer, its diagnosis date and histology, and its metastases."""

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
    """One cancer Condition; ``disease`` is the dictionary's, None where site or histology is not recorded."""

    item: DatedResource
    meaning: str
    disease: str | None
    status: str

    @property
    def metastatic(self) -> bool:
        """Return whether this is a metastasis, not a primary."""
        return self.meaning in (ELSEWHERE, SOMEWHERE, *SITES)

    @property
    def relapsing(self) -> bool:
        """Return whether the clinical status is recurrence or relapse."""
        return self.status in RELAPSING

    @property
    def reference(self) -> str:
        """Return the reference to the Condition, Type/id."""
        return f"Condition/{self.item.resource.get('id')}"


def read_cancers(record: PatientRecord, findings: Findings) -> list[Cancer]:
    """Return the cancers among the Conditions in order of onset; unknown codes are noted."""
    cancers = []
    for item in record.of("Condition"):
        meaning = load_terminology().condition(child(item.resource, "code"))
        if meaning is None:
            coding = codes(child(item.resource, "code"))
            findings.note("Condition code {} {} is not a cancer we know".format(*_short(coding)))
            continue
        status = codes(child(item.resource, "clinicalStatus"))
        disease = _disease(meaning, item, findings)
        cancers.append(Cancer(item, meaning, disease, status[0][1] if status else ""))
    return sorted(cancers, key=lambda c: (c.item.when or date.min, c.item.entry.label))


def _short(coding: Sequence[tuple[str, str]]) -> tuple[str, str]:
    return (coding[0][0][:60], coding[0][1][:40]) if coding else ("without", "system")


def _disease(meaning: str, item: DatedResource, findings: Findings) -> str | None:
    """Return the dictionary's disease, from body site and histology where the code is ambiguous."""
    if meaning in (OUTSIDE, ELSEWHERE, SOMEWHERE, *SITES):
        return None
    if meaning == "unspecified":
        sites = load_terminology().maps["body_sites"]
        site_codes = [code for place in children(item.resource, "bodySite") for _, code in codes(place)]
        meaning = next((sites[code] for code in site_codes if code in sites), meaning)
    decided = meaning
    if meaning == "lung":
        decided = first_match(load_terminology().lung_histology, _histology(item)) or ""
    elif meaning == "brain":
        recorded = _histology(item)
        decided = "glioblastoma" if "glioblastoma" in recorded else "other_cns_tumour" if recorded else ""
    if decided in ("", "unspecified"):
        findings.note(f"a cancer ({meaning}) whose histology or site is not recorded has no disease here")
        return None
    return decided


def _histology(item: DatedResource) -> str:
    morphology = child(extension(item.resource, "histology-morphology-behavior"), "valueCodeableConcept")
    return " | ".join((words(morphology), words(child(item.resource, "code"))))


def histology(cancer: Cancer) -> str | None:
    """Return the dictionary's histology from the words of mCODE's morphology extension."""
    morphology = child(
        extension(cancer.item.resource, "histology-morphology-behavior"), "valueCodeableConcept"
    )
    return first_match(load_terminology().histology, words(morphology))


def treated_cancer(
    cancers: Sequence[Cancer], *, index: date | None, evidence: frozenset[str], findings: Findings
) -> Cancer | None:
    """Return the treated cancer: the one that the relapse refers to, else the latest diagnosed by then."""
    known = [c for c in cancers if not c.metastatic and (c.item.when is None or c.item.by(index))]
    named_disease = [c for c in known if c.disease or c.meaning == OUTSIDE]
    named = [c for c in named_disease if c.reference in evidence]
    chosen = (named or named_disease or known)[-1:]
    diseases = {c.disease for c in known if c.disease}
    if len(diseases) > 1 and not named:
        findings.note("several primary cancers: the latest diagnosed is taken as the one treated")
    return chosen[0] if chosen else None


def diagnosed(cancers: Sequence[Cancer], treated: Cancer) -> date | None:
    """Return the earliest onset of the treated disease, Conditions of its relapse not counted."""
    days = [
        c.item.when
        for c in cancers
        if c.disease == treated.disease and c.item.when and not c.metastatic and not c.relapsing
    ]
    return min(days, default=None)


def metastases(cancers: Sequence[Cancer], *, index: date | None) -> dict[str, bool]:
    """Return the sites of metastasis at the index date.

    A site that is not recorded is false where every recorded metastasis has its organ. It is missing where no
    metastasis is recorded, or one without its organ.
    """
    spread = [c for c in cancers if c.metastatic and c.item.by(index) and c.status not in GONE]
    if not spread:
        return {}
    sites = {c.meaning for c in spread}
    return {site: site in sites for site in SITES if site in sites or SOMEWHERE not in sites}

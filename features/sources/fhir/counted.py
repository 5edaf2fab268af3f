"""Fields relative to the index date: age, times, treatment before it and follow-up after it."""

from collections.abc import Sequence
from datetime import date

from features.sources.fhir.disease import Cancer, diagnosed
from features.sources.fhir.findings import Findings
from features.sources.fhir.index_event import DiseaseStatus, ProgressionProof, came_back
from features.sources.fhir.line import prior_lines
from features.sources.fhir.person import Person
from features.sources.fhir.resources import DatedResource, PatientRecord
from features.sources.fhir.treatment import last_transplant, prior_treatment, read_doses, read_interventions
from features.sources.fhir.values import PlainValue
from features.sources.forms import MONTH, YEAR

Fields = dict[str, PlainValue]


def counted_fields(
    chosen: ProgressionProof, person: Person, record: PatientRecord, cancers: Sequence[Cancer],
    cancer: Cancer | None, statuses: Sequence[DiseaseStatus], findings: Findings,
) -> tuple[Fields, list[DatedResource]]:  # fmt: skip
    """Return age, times since, prior treatment and follow-up, and the treatment resources read."""
    index = chosen.when
    doses, interventions = read_doses(record, findings), read_interventions(record, findings)
    fields: Fields = dict(prior_treatment(doses, interventions, index=index))
    if person.birth and person.birth <= index:
        fields["age"] = (index - person.birth).days / YEAR
    worsened = [s.item.when for s in statuses if s.status == "worsened" and s.item.when]
    lines = prior_lines(record, doses, worsened, index=index, findings=findings)
    if lines:
        fields |= {"prior_lines": lines.lines, "line_inferred": lines.inferred}
    first = diagnosed(cancers, cancer) if cancer else None
    if first and first <= index:
        fields["months_diagnosis_to_relapse"] = (index - first).days / MONTH
    elif cancer and cancer.relapsing:
        findings.note("the relapse is the only record of the disease: its onset is taken as the relapse")
    if transplant := last_transplant(interventions, index=index):
        fields["months_since_transplant"] = (index - transplant).days / MONTH
    if came_back(chosen, statuses):
        fields["disease_status"] = "relapsed"
    fields |= _follow_up(person, record, index, findings)
    return fields, [dose.item for dose in doses] + [done.item for done in interventions]


def _follow_up(person: Person, record: PatientRecord, index: date, findings: Findings) -> Fields:
    """Return months to death or last contact; a death without a day is a problem of the record."""
    if person.died and person.death is None:
        findings.wrong(person.where, "died on no day", "add deceasedDateTime: survival cannot be counted")
        return {}
    end = person.death or record.last_contact or index
    months = max(0, (end - index).days) / MONTH
    return {"months_followed": months, "died": person.died}

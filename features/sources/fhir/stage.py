"""A stage written on the cancer's own Condition, where no Observation states one."""

from features.dictionary import load_dictionary
from features.sources.fhir.disease import Cancer
from features.sources.fhir.element import child, children
from features.sources.fhir.findings import Findings
from features.sources.fhir.values import read_value


def condition_stage(cancer: Cancer, findings: Findings) -> str | None:
    """Return the stage of ``Condition.stage.summary``, which stands for the day of the Condition.

    It is the stage at diagnosis unless the Condition is the relapse itself, and is noted as such.
    """
    declared = load_dictionary()["stage_at_relapse"]
    for stage in children(cancer.item.resource, "stage"):
        found = read_value(declared, {"valueCodeableConcept": child(stage, "summary")})
        if isinstance(found.value, str):
            if not cancer.relapsing:
                findings.note("stage_at_relapse: read from the Condition, so the stage at its onset")
            return found.value
    return None

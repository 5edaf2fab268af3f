"""The stage on the cancer's Condition, for records without a stage Observation."""

from features.dictionary import load_dictionary
from features.sources.fhir.disease import Cancer
from features.sources.fhir.element import child, children
from features.sources.fhir.findings import Findings
from features.sources.fhir.values import read_value


def condition_stage(cancer: Cancer, findings: Findings) -> str | None:
    """Return the stage in ``Condition.stage.summary``, None where there is none that can be read.

    It is the stage at the Condition's onset, and noted as such unless the Condition is the relapse.
    """
    declared = load_dictionary()["stage_at_relapse"]
    for stage in children(cancer.item.resource, "stage"):
        read = read_value(declared, {"valueCodeableConcept": child(stage, "summary")})
        if isinstance(read.value, str):
            if not cancer.relapsing:
                findings.note("stage_at_relapse: read from the Condition, so the stage at its onset")
            return read.value
    return None

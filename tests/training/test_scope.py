"""Scope: a cohort that does not fit the protocol is refused, with everything that is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.errors import InvalidCohort
from tests.lib.patients import protocol
from training.scope import in_scope, select


def without(cohort, *names):
    kept = [name for name in cohort.dictionary.names if name not in names]
    values = {name: cohort.values[name] for name in kept}
    return Cohort(cohort.dictionary.slice(kept), cohort.patients, values, cohort.provenance)


def problems(cohort, study):
    with pytest.raises(InvalidCohort) as refused:
        in_scope(cohort, study)
    return refused.value.problems


def test_a_cohort_that_fits_is_returned_as_it_is(cohort):
    assert in_scope(cohort, protocol()) is cohort


@pytest.mark.parametrize("name", ["age", "died", "months_followed", "disease"])
def test_each_missing_column_is_named(cohort, name):
    (problem,) = problems(without(cohort, name), protocol())
    assert (problem.field, problem.problem) == (name, "is missing from the cohort")


def test_a_field_the_protocol_does_not_need_may_be_missing(cohort):
    narrow = replace(protocol(), predictors=tuple(p for p in protocol().predictors if p != "age"))
    trimmed = without(cohort, "age")
    assert in_scope(trimmed, narrow) is trimmed


def test_patients_of_another_disease_are_counted_and_shown_by_row(cohort):
    narrow = replace(protocol(), diseases=("breast_cancer",))
    (problem,) = problems(cohort, narrow)
    outside = np.flatnonzero([d != "breast_cancer" for d in cohort.text("disease")])
    assert problem.field == "disease"
    assert problem.rows == len(outside)
    assert problem.examples == tuple((outside[:5] + 1).tolist())


def test_a_patient_without_a_disease_is_outside(cohort):
    values = cohort.values | {"disease": cohort.values["disease"].copy()}
    values["disease"][7] = np.nan
    blank = Cohort(cohort.dictionary, cohort.patients, values, cohort.provenance)
    (problem,) = problems(blank, protocol())
    assert (problem.field, problem.rows, problem.examples) == ("disease", 1, (8,))


def test_a_clock_that_starts_at_another_event_is_refused(cohort):
    other = replace(cohort, provenance=(replace(cohort.provenance[0], index_event="diagnosis"),))
    (problem,) = problems(other, protocol())
    assert problem.field == "index_event"
    assert problem.problem == "of simulated is diagnosis"
    assert problem.remedy == "expected first relapse"


def test_everything_wrong_is_reported_at_once(cohort):
    other = replace(
        without(cohort, "age", "died"),
        provenance=(replace(cohort.provenance[0], index_event="diagnosis"),),
    )
    narrow = replace(protocol(), diseases=("breast_cancer",))
    assert [p.field for p in problems(other, narrow)] == ["age", "died", "index_event", "disease"]


# --- selection -------------------------------------------------------------------------------------------


def test_a_cohort_within_the_scope_is_selected_whole(cohort):
    assert select(cohort, protocol()) is cohort


def test_other_diseases_are_left_out_and_counted(cohort):
    narrow = replace(protocol(), diseases=("breast_cancer",))
    selected = select(cohort, narrow)
    outside = sum(disease != "breast_cancer" for disease in cohort.text("disease"))
    assert set(selected.text("disease")) == {"breast_cancer"}
    (step,) = selected.provenance[0].attrition.exclusions
    assert (step.reason, step.excluded) == ("another disease", outside)
    assert selected.provenance[0].attrition.kept == len(selected) == len(cohort) - outside


def test_an_unknown_second_endpoint_leaves_a_patient_out_and_an_unknown_first_one_does_not(cohort):
    fields = load_dictionary().slice(
        (*cohort.dictionary.names, "months_progression_free", "progressed_or_died")
    )
    known = {"months_progression_free": cohort.values["months_followed"].copy()}
    known["months_progression_free"][3] = np.nan
    values = cohort.values | known | {"progressed_or_died": cohort.values["died"]}
    whole = Cohort(fields, cohort.patients, values, cohort.provenance)
    second = replace(protocol(), endpoints=("overall_survival", "progression_free_survival"))
    selected = select(whole, second)
    assert cohort.patients[3] not in selected.patients
    (step,) = selected.provenance[0].attrition.exclusions
    assert (step.reason, step.excluded) == ("progression-free survival is not recorded", 1)
    first = replace(protocol(), endpoints=("progression_free_survival",))
    assert select(whole, first) is whole


def test_a_cohort_of_other_diseases_alone_is_left_for_the_refusal(cohort):
    elsewhere = replace(protocol(), diseases=("glioblastoma",))
    assert select(cohort, elsewhere) is cohort

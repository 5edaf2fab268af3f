"""The answers of several endpoints to one patient agree, for any patient, however they are asked for."""

import numpy as np
import pytest

from features.cohort import Cohort
from features.endpoints import ENDPOINTS
from models.answer.coherence import AT_LEAST, AT_MOST, EQUAL, Relation, reconciled, relations
from tests.serving.several import several_bundle, several_cohort

OS, PFS, EFS = "overall_survival", "progression_free_survival", "event_free_survival"
CAUSES = "relapse_and_non_relapse_mortality"


def stands(name: str, *others: str):
    return relations(ENDPOINTS[name], [ENDPOINTS[other] for other in (name, *others)])


def test_survival_free_of_fewer_events_is_at_least_that_free_of_more():
    assert stands(OS, PFS, EFS) == (Relation(PFS, AT_LEAST), Relation(EFS, AT_LEAST))
    assert stands(PFS, OS, EFS) == (Relation(EFS, AT_LEAST),)
    assert stands(EFS, OS, PFS) == ()


def test_beside_competing_causes_these_decide():
    assert stands(PFS, OS, CAUSES) == (Relation(CAUSES, EQUAL),)
    assert stands(OS, PFS, CAUSES) == (Relation(CAUSES, AT_LEAST),)
    assert stands(EFS, PFS, CAUSES) == (Relation(CAUSES, AT_MOST),)
    assert stands(CAUSES, OS, PFS) == stands("response", OS, CAUSES) == ()


def test_an_answer_moves_only_as_far_as_it_must():
    own, other = np.array([[0.8, 0.5, 0.3]]), {PFS: np.array([[0.7, 0.6, np.nan]])}
    for how, expected in ((AT_LEAST, [0.8, 0.6, 0.3]), (AT_MOST, [0.7, 0.5, 0.3]), (EQUAL, [0.7, 0.6, 0.3])):
        np.testing.assert_array_equal(reconciled(own, [Relation(PFS, how)], other), [expected])


@pytest.fixture(scope="module")
def bundle():
    return several_bundle()


@pytest.fixture(scope="module")
def anyone(bundle) -> Cohort:
    """Patients who mix the values of others, one in five of them not known."""
    cohort, rng = several_cohort(), np.random.default_rng(5)
    diseases = np.array(cohort.text("disease"))
    values = {name: column.copy() for name, column in cohort.values.items()}
    for disease in np.unique(diseases):
        rows = np.flatnonzero(diseases == disease)
        for name in bundle.dictionary.names:
            if name != "disease":
                values[name][rows] = cohort.values[name][rng.permutation(rows)]
                values[name][rows[rng.random(len(rows)) < 0.2]] = np.nan
    return Cohort(cohort.dictionary, cohort.patients, values, cohort.provenance)


def test_nobody_s_survival_crosses_at_any_month(bundle, anyone):
    months = np.arange(1.0, max(bundle.protocol.horizons) + 1.0)
    found = {
        e.endpoint.name: bundle.probabilities(anyone, e.endpoint.name, months)
        for e in bundle.endpoints
        if e.endpoint.timed
    }
    limits = np.array(
        [min(e.supported[d] for e in bundle.endpoints if e.endpoint.timed) for d in bundle.protocol.diseases]
    )
    reached = months <= limits[bundle.strata(anyone)][:, None]
    if CAUSES in found:
        free = 1.0 - found[CAUSES].sum(axis=1)
        assert (found[OS][:, 0] >= free - 1e-12)[reached].all()
        if PFS in found:
            np.testing.assert_allclose(found[PFS][:, 0][reached], free[reached], atol=1e-12)
    if PFS in found:
        assert (found[OS][:, 0] >= found[PFS][:, 0] - 1e-12)[reached].all()
    for name, probability in found.items():
        steps = np.diff(probability, axis=2)
        right = (steps <= 1e-12) if ENDPOINTS[name].falls else (steps >= -1e-12)
        assert right.all(axis=1)[reached[:, 1:]].all()


def check_times(outcome):
    """Compare a survival outcome's times with its curve."""
    if outcome.median is None:
        return
    mean, median, curve = outcome.restricted_mean, outcome.median, outcome.curve
    assert mean.low <= mean.months <= mean.high <= mean.horizon
    months = [month for month in curve.months if month < mean.horizon] + [mean.horizon]
    heights = np.interp(months, curve.months, curve.probability)
    assert mean.months == pytest.approx(np.trapezoid(heights, months), abs=1e-9)
    ends = median.low or 0.0, median.months or np.inf, median.high or np.inf
    assert ends == tuple(sorted(ends))
    if median.months is not None:
        assert np.interp(median.months, curve.months, curve.probability) == pytest.approx(0.5, abs=1e-9)


def test_the_answer_to_one_patient_says_the_same_and_its_sum_holds(bundle, anyone):
    horizons = np.array(bundle.protocol.horizons)
    table = {
        e.endpoint.name: bundle.probabilities(anyone, e.endpoint.name, horizons)
        for e in bundle.endpoints
        if e.endpoint.timed
    }
    moved = 0
    for row in range(0, len(anyone), 3):
        answer = bundle.predict(anyone.take(np.array([row])))
        for endpoint in answer.endpoints:
            for at, outcome in enumerate(endpoint.outcomes):
                for probability in outcome.probabilities:
                    if probability.probability is None:
                        continue
                    assert probability.low <= probability.probability <= probability.high
                    if probability.horizon is not None:
                        place = horizons.tolist().index(probability.horizon)
                        assert probability.probability == pytest.approx(
                            table[endpoint.endpoint][row, at, place], abs=1e-12
                        )
                for scale in outcome.explanation.scales:
                    total = (
                        scale.reference + scale.coherence + sum(c.contribution for c in scale.contributions)
                    )
                    assert total == pytest.approx(scale.prediction, abs=1e-6)
                    moved += scale.coherence != 0.0
                check_times(outcome)
    assert moved

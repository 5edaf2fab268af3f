"""A fitted endpoint: its files, the horizons it answers for, and the parts that must fit together."""

from dataclasses import replace

import numpy as np
import pytest

from features.endpoints import ENDPOINTS
from features.errors import InvalidInput
from models.answer.fitted_endpoint import NOT_KNOWN, FittedEndpoint
from models.estimators.additive import AdditiveModel
from models.estimators.interface import NO_TIME
from models.explanation.attribution import ExactExplainer
from models.explanation.sampled import SampledExplainer

KINDS = ("survival", "competing", "response", "sampled")


@pytest.fixture(params=KINDS)
def endpoint(request, several, sampled):
    return dict(zip(KINDS, (*several.endpoints, *sampled.endpoints), strict=True))[request.param]


def read(endpoint, files, name=None):
    kept = ("supported", "horizons", "explained_horizon", "owners", "dictionary")
    rest = {part: getattr(endpoint, part) for part in kept}
    return FittedEndpoint.from_files(name or endpoint.endpoint.name, files, **rest)


def test_files_give_back_the_endpoint_with_the_same_answers_and_bytes(endpoint, several, cohort):
    files = endpoint.files()
    assert all(name.startswith(f"{endpoint.endpoint.name}.") for name in files)
    again = read(endpoint, files)
    assert again.files() == files
    assert (again.endpoint, again.estimator, again.bounds) == (
        endpoint.endpoint, endpoint.estimator, endpoint.bounds,
    )  # fmt: skip
    some = cohort.take(np.arange(60))
    patients, strata = several.completion.complete_cohort(some), several.strata(some)
    again.check(columns=patients.X.shape[1], diseases=several.protocol.diseases)
    times = np.array([6.0, 24.0]) if endpoint.endpoint.timed else NO_TIME
    np.testing.assert_array_equal(
        again.probabilities(patients, strata, times), endpoint.probabilities(patients, strata, times)
    )
    for at, disease in enumerate(several.protocol.diseases):
        one, other = (each.explainer(disease, at).reference(times[:1]) for each in (again, endpoint))
        np.testing.assert_array_equal(one, other)


def test_probabilities_are_means_over_each_patients_rows(endpoint, several, cohort):
    some = cohort.take(np.arange(60))
    patients, strata = several.completion.complete_cohort(some), several.strata(some)
    assert not patients.complete
    times = np.array([6.0, 24.0]) if endpoint.endpoint.timed else NO_TIME
    found = endpoint.probabilities(patients, strata, times)
    for row, own in enumerate(patients.one_by_one()):
        each = endpoint.model.predict(own.X, np.full(len(own.X), strata[row]), times)
        np.testing.assert_allclose(found[row], np.tensordot(own.weights, each, axes=1), rtol=0, atol=1e-12)
        assert (found[row] >= each.min(axis=0) - 1e-12).all()
        assert (found[row] <= each.max(axis=0) + 1e-12).all()


def test_an_additive_model_is_explained_exactly_and_any_other_by_sampling(endpoint, several):
    expected = ExactExplainer if isinstance(endpoint.model, AdditiveModel) else SampledExplainer
    for at, disease in enumerate(several.protocol.diseases):
        explainer = endpoint.explainer(disease, at)
        assert type(explainer) is expected
        assert explainer is endpoint.explainer(disease, at)
        assert (explainer.background.strata == at).all()
        assert explainer.disease == endpoint.dictionary.names.index("disease")


def test_columns_of_what_has_no_meaning_in_a_disease_belong_to_the_disease(endpoint, several):
    fields, place = endpoint.dictionary.fields, endpoint.dictionary.names.index("disease")
    for at, disease in enumerate(several.protocol.diseases):
        owner = endpoint.explainer(disease, at).owner
        for column, own in zip(endpoint.owners, owner, strict=True):
            assert own == (column if fields[column].applies(disease) else place)
        assert (owner == place).any()


def test_the_mean_of_all_diseases_is_that_of_those_who_were_followed_so_long(several, cohort):
    """Each by its share of the training cohort."""
    first, second = several.protocol.diseases
    endpoint = replace(several.endpoints[0], supported={first: 48.0, second: 12.0})
    shares = np.bincount(several.strata(cohort)) / len(cohort)
    np.testing.assert_allclose(endpoint.background.shares, shares, rtol=1e-12)
    early, late = np.array([12.0]), np.array([24.0])
    each = [endpoint.explainer(disease, at).reference(early) for at, disease in enumerate((first, second))]
    found = endpoint.whole_reference((first, second), early)
    np.testing.assert_allclose(found, shares[0] * each[0] + shares[1] * each[1], rtol=1e-12)
    alone = endpoint.explainer(first, 0).reference(late)
    np.testing.assert_allclose(endpoint.whole_reference((first, second), late), alone, rtol=1e-12)


def test_what_is_not_known_is_the_last_group(endpoint):
    assert endpoint.group_names[-1] == NOT_KNOWN
    assert len(set(endpoint.group_names)) == len(endpoint.group_names)
    named = [endpoint.group_names[at] for at in endpoint.group]
    assert named == [field.group for field in endpoint.dictionary.fields]


def test_a_model_of_an_estimator_that_is_not_installed_is_refused(endpoint):
    with pytest.raises(InvalidInput, match="theirs is no estimator of the kind"):
        read(endpoint, replace(endpoint, estimator="theirs").files())


def test_files_under_another_endpoints_name_are_refused(endpoint):
    own, other = f"{endpoint.endpoint.name}.", "another."
    files = {other + name.removeprefix(own): content for name, content in endpoint.files().items()}
    with pytest.raises(ValueError, match="another is not as it must be"):
        read(endpoint, files, "another")


def test_horizons_are_answered_as_far_as_a_disease_was_followed(several):
    first, second = several.protocol.diseases
    endpoint = replace(
        several.endpoints[0], horizons=(6.0, 12.0, 24.0), explained_horizon=12.0,
        supported={first: 12.0, second: 5.9},
    )  # fmt: skip
    assert endpoint.explainable(first) == (6.0, 12.0)
    assert endpoint.explainable(second) == ()
    assert (endpoint.answers(first), endpoint.answers(second)) == (True, False)
    assert [endpoint.explained_at(first, horizon) for horizon in (6.0, 24.0, None)] == [6.0, 12.0, 12.0]
    assert replace(endpoint, explained_horizon=36.0).explained_at(first, None) == 12.0
    assert endpoint.explained_at(second, 6.0) is None


def test_without_time_there_is_no_horizon_and_always_an_answer(several):
    response, disease = several.endpoints[2], several.protocol.diseases[0]
    assert response.explainable(disease) == ()
    assert response.answers(disease)
    assert response.explained_at(disease, 12.0) is None


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("outcomes", {"endpoint": ENDPOINTS["grade_3_toxicity"]}),
        ("outcomes", {"endpoint": replace(ENDPOINTS["overall_survival"], link="probit")}),
        ("supported", {"supported": {}}),
        ("supported", {"supported": {"breast_cancer": 60.0, "colorectal_cancer": np.inf}}),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(several, part, changed):
    (endpoint, *_), columns = several.endpoints, len(several.encoder.columns)
    with pytest.raises(ValueError, match=f"{part}.* not as it must be|{part} are not as they must be"):
        replace(endpoint, **changed).check(columns=columns, diseases=several.protocol.diseases)


def test_bounds_belong_to_what_falls(several):
    survival, competing, _ = several.endpoints
    assert survival.bounds is not None
    with pytest.raises(ValueError, match="bounds are not as they must be"):
        replace(competing, bounds=survival.bounds).check(
            columns=len(several.encoder.columns), diseases=several.protocol.diseases
        )

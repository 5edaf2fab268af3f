"""A landmark from its protocol's file to the data that would be fitted, as ``salvage fit`` reads them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from features.cohort import Cohort
from features.endpoints import ENDPOINTS
from features.errors import InvalidCohort
from features.protocol import StudyProtocol, load_protocol
from training import cli
from training.scope import in_scope, select


@pytest.fixture
def study(tmp_path: Path) -> StudyProtocol:
    """The ready protocol with a landmark, written and read as a user's file."""
    declared = load_protocol("relapse-survival").as_dict() | {"name": "two-months", "landmark": 2}
    (tmp_path / "two-months.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    return load_protocol(str(tmp_path / "two-months.yaml"))


def test_the_clock_of_a_cohort_file_starts_at_the_protocol_s_landmark(study, cohort, tmp_path):
    cohort.write(tmp_path / "cohort.parquet")
    read = in_scope(cli._read_cohorts(study, [str(tmp_path / "cohort.parquet")]), study)
    assert [source.index_event for source in read.provenance] == [study.time_zero]
    at_risk = cohort.values["months_followed"] > 2.0
    assert read.patients == tuple(p for p, stays in zip(cohort.patients, at_risk, strict=True) if stays)
    followed = ENDPOINTS["overall_survival"].read(read).duration
    np.testing.assert_allclose(followed, cohort.values["months_followed"][at_risk] - 2.0)
    (step,) = read.provenance[0].attrition.exclusions
    assert (step.reason, step.excluded) == (
        "died or lost within 2 months of the index date",
        int((~at_risk).sum()),
    )
    assert 0 < step.excluded < len(cohort)


def test_several_cohorts_each_have_their_landmark_before_they_are_joined(study, cohort, tmp_path):
    files = []
    for name in ("north", "south"):
        source = replace(cohort.provenance[0], recipe=name)
        replace(cohort, provenance=(source,)).write(tmp_path / name)
        files.append(str(tmp_path / name))
    read = in_scope(cli._read_cohorts(study, files), study)
    assert [source.index_event for source in read.provenance] == [study.time_zero] * 2
    assert len(read) == sum(source.attrition.kept for source in read.provenance)


def test_a_cohort_without_the_landmark_does_not_fit_the_protocol(study, cohort):
    with pytest.raises(InvalidCohort) as refused:
        in_scope(cohort, study)
    (problem,) = refused.value.problems
    assert (problem.field, problem.remedy) == ("index_event", "expected first relapse, plus 2 months")


def test_a_cohort_already_joined_cannot_be_given_a_landmark_without_a_word(study, cohort):
    joined = Cohort(cohort.dictionary, cohort.patients, cohort.values, cohort.provenance * 2)
    with pytest.raises(InvalidCohort, match="several sources"):
        select(joined, study)

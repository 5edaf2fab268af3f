"""Cohort files: written and read back equal; anything else is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cohort import Cohort, concatenate
from features.dictionary import load_dictionary
from features.errors import InvalidCohort
from tests.lib.patients import provenance, simulated_cohort, simulated_frame


def refusal(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(InvalidCohort) as caught:
        Cohort.read(path)
    return [(p.field, p.problem) for p in caught.value.problems]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "cohort.parquet"
    simulated_cohort(12).write(path)
    return path


@given(patients=st.integers(0, 30), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_a_cohort_is_read_back_equal(tmp_path_factory: pytest.TempPathFactory, patients: int, seed: int):
    cohort = simulated_cohort(30, seed=seed).take(np.arange(patients))
    path = tmp_path_factory.mktemp("cohort") / "cohort.parquet"
    cohort.write(path)
    again = Cohort.read(path)
    assert again.fingerprint() == cohort.fingerprint()
    assert again.provenance == cohort.provenance
    assert again.dictionary == cohort.dictionary


def test_the_provenance_of_every_part_is_kept(tmp_path: Path):
    parts = [
        replace(simulated_cohort(5, seed=i), provenance=(replace(provenance(5), recipe=name),))
        for i, name in enumerate(["ward", "trial"])
    ]
    joined = concatenate(parts)
    joined.write(tmp_path / "joined.parquet")
    assert Cohort.read(tmp_path / "joined.parquet").provenance == joined.provenance
    assert [p.recipe for p in joined.provenance] == ["ward", "trial"]


def test_a_cohort_of_some_fields_is_read_back_with_those_only(tmp_path: Path):
    part = load_dictionary().slice(["sex", "age"])
    cohort = Cohort.from_frame(simulated_frame(5, seed=1), dictionary=part)
    cohort.write(tmp_path / "part.parquet")
    again = Cohort.read(tmp_path / "part.parquet")
    assert again.dictionary == part
    assert again.fingerprint() == cohort.fingerprint()


def test_a_cohort_file_is_readable_by_any_parquet_reader(written: Path):
    table = pq.read_table(written)
    assert table.schema.field("sex").type == pa.string()
    assert table.schema.field("positive_lymph_nodes").type == pa.int64()
    assert table.schema.field("died").type == pa.bool_()
    assert table.schema.field("age").type == pa.float64()


def test_a_missing_file_is_refused(tmp_path: Path):
    assert refusal(tmp_path / "nowhere.parquet") == [("file", "does not exist")]


def test_an_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(InvalidCohort):
        Cohort.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"patient,age\n1,50\n", b"PAR1 not really PAR1"])
def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "cohort.parquet"
    path.write_bytes(content)
    assert refusal(path) == [("file", "is not Parquet")]


def test_a_truncated_cohort_file_is_refused(written: Path):
    written.write_bytes(written.read_bytes()[:-20])
    assert refusal(written) == [("file", "is not Parquet")]


def test_a_parquet_table_that_is_no_cohort_is_refused_with_the_command_to_type(tmp_path: Path):
    path = tmp_path / "table.parquet"
    simulated_frame(5, seed=1).to_parquet(path)
    with pytest.raises(InvalidCohort) as caught:
        Cohort.read(path)
    (problem,) = caught.value.problems
    assert problem.problem == "is not a cohort file"
    assert "salvage cohort build --recipe" in problem.remedy


def test_a_column_added_to_a_cohort_file_is_refused(written: Path):
    table = pq.read_table(written)
    pq.write_table(table.append_column("insurance_number", [["x"] * 12]), written)
    assert refusal(written) == [("insurance_number", "is not in the dictionary")]


def test_a_cohort_file_without_patients_is_refused(written: Path):
    pq.write_table(pq.read_table(written).drop_columns(["patient"]), written)
    assert refusal(written) == [("patient", "is missing from the table")]


def test_a_value_changed_in_a_cohort_file_is_validated_again(written: Path):
    table = pq.read_table(written)
    at = table.schema.get_field_index("age")
    pq.write_table(table.set_column(at, "age", [[50.0] * 11 + [500.0]]), written)
    assert refusal(written) == [("age", "out of range")]


def test_a_folder_of_cohort_files_is_refused(tmp_path: Path):
    for name, evidence in (("a", "real"), ("b", "synthetic")):
        stated = (replace(provenance(1), evidence=evidence),)
        part = replace(simulated_cohort(1), patients=(name,), provenance=stated)
        part.write(tmp_path / f"{name}.parquet")
    with pytest.raises(InvalidCohort):
        Cohort.read(tmp_path)


@pytest.mark.parametrize("stated", ["not JSON", "{}", "[1]", '[{"recipe": "ward"}]'])
def test_a_cohort_file_of_unreadable_provenance_is_refused(written: Path, stated: str):
    table = pq.read_table(written).replace_schema_metadata({"salvage": stated})
    pq.write_table(table, written)
    with pytest.raises(InvalidCohort):
        Cohort.read(written)

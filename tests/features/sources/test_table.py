"""Tables from files: read as they stand, or refused."""

from pathlib import Path

import pandas as pd
import pytest

from features.errors import InvalidCohort
from features.sources.table import read_table


def refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(InvalidCohort) as caught:
        read_table(path)
    (problem,) = caught.value.problems
    return problem.field, problem.problem


@pytest.mark.parametrize(("name", "text"), [("t.csv", "id,x\na,1\nb,\n"), ("t.tsv", "id\tx\na\t1\nb\t\n")])
def test_separated_text_is_read(tmp_path: Path, name: str, text: str):
    (tmp_path / name).write_text(text, encoding="utf-8")
    table = read_table(tmp_path / name)
    assert table["id"].tolist() == ["a", "b"]
    assert table["x"].isna().tolist() == [False, True]


def test_parquet_is_read(tmp_path: Path):
    written = pd.DataFrame({"id": ["a", "b"], "x": [1, 2]})
    written.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), written)


def test_an_absent_file_is_refused(tmp_path: Path):
    assert refusal(tmp_path / "t.csv") == ("file", "does not exist")


def test_a_folder_is_refused(tmp_path: Path):
    (tmp_path / "t.csv").mkdir()
    assert refusal(tmp_path / "t.csv") == ("file", "does not exist")


@pytest.mark.parametrize("name", ["t", "t.pkl"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"id,x\na,1\n")
    assert refusal(tmp_path / name) == ("file", "is of an unknown kind")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("latin.csv", "id,x\né,1\n".encode("latin-1")),
        ("ragged.csv", b"id,x\na,1\nb,1,2,3\n"),
        ("text.parquet", b"id,x\na,1\n"),
        ("empty.parquet", b""),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name) == ("file", "cannot be read")


def test_a_comma_at_the_end_of_every_row_is_refused_and_moves_no_column(tmp_path: Path):
    (tmp_path / "t.csv").write_text("id,age,nodes\na,50,3,\nb,60,4,\n", encoding="utf-8")
    assert refusal(tmp_path / "t.csv") == ("header", "has fewer fields than the rows")


def test_a_column_that_stands_twice_is_refused(tmp_path: Path):
    (tmp_path / "t.csv").write_text("id,age,age\na,50,99\n", encoding="utf-8")
    assert refusal(tmp_path / "t.csv")[0] == "age"

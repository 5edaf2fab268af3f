"""Tables from files: what Excel, CSV and Parquet do to values is named; big files are checked in parts."""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cohort import Cohort
from features.dictionary import load_dictionary
from features.errors import InvalidCohort
from features.sources import parquet_check
from features.sources.parquet_check import check_parquet
from features.sources.table import read_table

FIELDS = load_dictionary().slice(["disease", "age", "prior_lines", "b_symptoms"])


def _workbook(path, rows, *, title="patients", more=None):
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    for name, extra in (more or {}).items():
        sheet = book.create_sheet(name)
        for row in extra:
            sheet.append(row)
    book.save(path)
    return path


def _faults(error) -> dict[str, tuple[str, int | None, tuple[int, ...]]]:
    return {p.field: (p.problem, p.rows, p.examples) for p in error.value.problems}


@pytest.mark.parametrize(
    ("name", "text"), [("c.csv", "id,age\n1,60\n2,\n"), ("c.tsv", "id\tage\n1\t60\n2\t\n")]
)
def test_delimited_text_is_read_as_it_stands(tmp_path, name, text):
    path = tmp_path / name
    path.write_text("\ufeff" + text, encoding="utf-8")
    frame = read_table(path)
    assert list(frame.columns) == ["id", "age"]
    assert frame["age"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("id,age,age\n1,60,61\n", "age", "names several columns"),
        ("id,,age\n1,2,3\n", "column 2", "has no name"),
        ("id,age\n1,60,7\n2,61,8\n", "header", "has fewer fields than the rows"),
        ("id,age\n1,60\n2,61,8\n", "file", "cannot be read"),
        ("", "file", "cannot be read"),
    ],
)
def test_text_that_would_be_misread_is_refused(tmp_path, text, field, problem):
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(InvalidCohort) as error:
        read_table(path)
    assert _faults(error)[field][0] == problem


@pytest.mark.parametrize("name", ["absent.csv", "absent.xlsx", "absent.xlsx#one", "list.doc", "folder"])
def test_what_is_no_table_is_refused(tmp_path, name):
    with pytest.raises(InvalidCohort):
        read_table(tmp_path / name)


def test_broken_files_are_refused(tmp_path):
    for name in ("c.xlsx", "c.parquet", "c.csv"):
        path = tmp_path / name
        path.write_bytes(b"\xff\xfe\x00broken")
        with pytest.raises(InvalidCohort) as error:
            read_table(path)
        assert error.value.problems[0].field == "file"


def test_a_workbook_gives_its_first_sheet(tmp_path):
    day = dt.datetime(2024, 2, 1)
    path = _workbook(
        tmp_path / "c.xlsx",
        [
            ["id", "age", "relapse_date", "arm", "fit"],
            ["P1", 60, day, "A", True],
            ["P2", None, None, 7, False],
            [],
        ],
        more={"second": [["id"], ["Q"]]},
    )
    frame = read_table(path)
    assert frame["id"].tolist() == ["P1", "P2"]
    assert frame["age"].dtype == float
    assert frame["relapse_date"][0] == pd.Timestamp(day)
    assert frame["arm"].tolist() == ["A", 7]
    assert frame["fit"].tolist() == [True, False]
    assert read_table(f"{path}#second")["id"].tolist() == ["Q"]


def test_an_unknown_sheet_is_named_with_those_there_are(tmp_path):
    path = _workbook(tmp_path / "c.xlsx", [["id"], ["P1"]], more={"labs": [["id"]]})
    with pytest.raises(InvalidCohort, match="patients, labs"):
        read_table(f"{path}#outcomes")


def test_every_fault_of_a_workbook_is_named_at_once(tmp_path):
    day = dt.datetime(2024, 5, 3)
    rows = [
        ["id", "relapse_date", "nodes", "albumin", "death_date", "crp", "weight", "code"],
        [1, day, 3, "38", 45000, 1.5, 70, "1"],
        [2, 45001, day, "39,5", 45001, "#DIV/0!", "71", "2"],
        [3, day, 4, 40, None, 2, 72, "x"],
        [4, day, 5, 41, None, "n/a", 73, None],
    ]
    with pytest.raises(InvalidCohort) as error:
        read_table(_workbook(tmp_path / "c.xlsx", rows))
    assert _faults(error) == {
        "relapse_date": ("holds dates as plain numbers", 1, (2,)),
        "nodes": ("holds dates among numbers", 1, (2,)),
        "albumin": ("holds numbers stored as text", 2, (1, 2)),
        "death_date": ("holds dates as plain numbers", 2, (1, 2)),
        "crp": ("holds an error of Excel", 1, (2,)),
        "weight": ("holds numbers stored as text", 1, (2,)),
    }


def test_dates_in_a_column_the_dictionary_calls_a_number_are_named(tmp_path):
    day = dt.datetime(2024, 3, 4)
    with pytest.raises(InvalidCohort) as error:
        read_table(_workbook(tmp_path / "c.xlsx", [["id", "prior_lines"], [1, day], [2, day]]))
    assert _faults(error) == {"prior_lines": ("holds dates among numbers", 2, (1, 2))}


def test_identifiers_kept_as_text_stay_text(tmp_path):
    path = _workbook(tmp_path / "c.xlsx", [["id", "days_to_date"], ["001", 20000], ["002", 20001]])
    frame = read_table(path)
    assert frame["id"].tolist() == ["001", "002"]
    assert frame["days_to_date"].tolist() == [20000, 20001]


def test_headers_without_a_name_of_their_own_are_named(tmp_path):
    path = _workbook(tmp_path / "c.xlsx", [["id", None, "age", "age"], [1, 2, 3, 4]])
    with pytest.raises(InvalidCohort) as error:
        read_table(path)
    assert _faults(error) == {
        "column 2": ("has no name", None, ()),
        "age": ("names several columns", None, ()),
    }


def test_formulas_never_computed_are_named_not_read_as_missing(tmp_path):
    path = _workbook(tmp_path / "c.xlsx", [["id", "age"], [1, "=30+30"], [2, 61]])
    with pytest.raises(InvalidCohort) as error:
        read_table(path)
    assert error.value.problems[0].problem == "holds formulas without a stored result"


def test_an_empty_sheet_is_refused(tmp_path):
    with pytest.raises(InvalidCohort, match="is empty"):
        read_table(_workbook(tmp_path / "c.xlsx", []))


def _frame(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "patient": [f"P{row}" for row in range(rows)],
            "disease": ["dlbcl"] * rows,
            "age": np.linspace(20, 80, rows),
            "prior_lines": np.ones(rows, dtype=int),
            "b_symptoms": [True] * rows,
        }
    )


def _write(path, frame, group):
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=group)
    return path


def test_a_valid_parquet_file_has_no_problem(tmp_path):
    checked = check_parquet(_write(tmp_path / "c.parquet", _frame(1000), 100), dictionary=FIELDS)
    assert checked == parquet_check.CheckedFile(1000, ())
    checked.require_valid("cohort")


def test_problems_keep_the_rows_of_the_whole_file(tmp_path):
    frame = _frame(1000)
    frame.loc[[250, 999], "age"] = 200.0
    frame.loc[[5, 450], "disease"] = "flu"
    frame.loc[[700], "patient"] = None
    frame.loc[[900], "patient"] = "P10"
    checked = check_parquet(_write(tmp_path / "c.parquet", frame, 100), dictionary=FIELDS)
    assert {(p.field, p.problem, p.rows, p.examples) for p in checked.problems} == {
        ("age", "out of range", 2, (251, 1000)),
        ("disease", "unknown category", 2, (6, 451)),
        ("patient", "is missing", 1, (701,)),
        ("patient", "stands in several rows", 2, (11, 901)),
    }
    with pytest.raises(InvalidCohort):
        checked.require_valid("cohort")


def test_missing_columns_are_named_once(tmp_path):
    frame = _frame(300).drop(columns=["age", "patient"])
    checked = check_parquet(_write(tmp_path / "c.parquet", frame, 100), dictionary=FIELDS)
    assert sorted((p.field, p.rows) for p in checked.problems) == [("age", None), ("patient", None)]


def test_an_empty_parquet_file_is_valid(tmp_path):
    assert check_parquet(_write(tmp_path / "c.parquet", _frame(10).head(0), 10), dictionary=FIELDS).rows == 0


def test_numbered_patients_are_compared_across_groups_with_gaps(tmp_path):
    numbers = pa.array([1, 2, None, 4, 1, 6], pa.int64())
    columns = pa.Table.from_pandas(_frame(6), preserve_index=False).set_column(0, "patient", numbers)
    pq.write_table(columns, tmp_path / "c.parquet", row_group_size=2)
    checked = check_parquet(tmp_path / "c.parquet", dictionary=FIELDS)
    assert {(p.problem, p.examples) for p in checked.problems} == {
        ("is missing", (3,)),
        ("stands in several rows", (1, 5)),
    }


@settings(max_examples=25)
@given(
    patients=st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=12),
    ages=st.lists(st.sampled_from([40.0, 130.0, None]), min_size=12, max_size=12),
    group=st.integers(1, 5),
)
def test_the_parts_say_what_the_whole_says(tmp_path_factory, patients, ages, group):
    frame = _frame(len(patients)).assign(patient=patients, age=ages[: len(patients)])
    path = _write(tmp_path_factory.mktemp("parts") / "c.parquet", frame, group)
    whole: tuple = ()
    try:
        Cohort.from_frame(pd.read_parquet(path), dictionary=FIELDS)
    except InvalidCohort as error:
        whole = error.problems
    assert set(check_parquet(path, dictionary=FIELDS).problems) == set(whole)


MEASURE = """
import re, sys
from pathlib import Path
from features.dictionary import load_dictionary
from features.sources.parquet_check import check_parquet
fields = load_dictionary().slice(["disease", "age", "prior_lines", "b_symptoms"])
checked = check_parquet(Path(sys.argv[1]), dictionary=fields)
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(checked.rows, len(checked.problems), int(peak) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("group", [50_000, 1_500_000])
def test_memory_does_not_grow_with_the_file(tmp_path, group):
    """Thirty times the rows, in many row groups or in one, must not need thirty times the memory."""
    used = []
    for rows in (50_000, 1_500_000):
        path = _write(tmp_path / f"{rows}.parquet", _frame(rows), min(group, rows))
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
        )
        found, problems, megabytes = map(int, done.stdout.split())
        assert (found, problems) == (rows, 0)
        used.append(megabytes)
    assert used[1] - used[0] < 150, used

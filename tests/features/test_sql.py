"""Databases as sources: real PostgreSQL, SQLite and DuckDB, read only, and never a password in a message."""

import os
import sqlite3
import subprocess
import sys
import traceback
import uuid
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import sqlalchemy

from features.dictionary import load_dictionary
from features.errors import InvalidCohort, MissingExtra
from features.sources.build import follow
from features.sources.door import SourceTables
from features.sources.doors import read_source
from features.sources.recipe import parse_recipe
from features.sources.sql import read_sql

POSTGRES = os.environ.get("SALVAGE_TEST_POSTGRES")
needs_postgres = pytest.mark.skipif(
    POSTGRES is None, reason="SALVAGE_TEST_POSTGRES holds no address of a PostgreSQL server"
)
CREATE = [
    "CREATE TABLE {s}patients (pid TEXT, age NUMERIC(5,2), relapse_date DATE, died BOOLEAN, months REAL)",
    "INSERT INTO {s}patients VALUES ('P1', 61.50, '2020-03-01', TRUE, 7.5)",
    "INSERT INTO {s}patients VALUES ('P2', NULL, '2021-03-01', FALSE, 30), ('P3', 70, NULL, NULL, 4)",
]
RECIPE = {
    "name": "made",
    "title": "Made",
    "evidence": "synthetic",
    "source": {"citation": "made", "terms": "none", "selection": ["made"]},
    "index_event": "relapse",
    "patient": "pid",
    "fields": {
        "disease": {"constant": "dlbcl"},
        "age": {"column": "age"},
        "months_followed": {"column": "months"},
        "died": {"column": "died", "codes": {1: True, 0: False}},
    },
}


@pytest.fixture
def sqlite(tmp_path):
    file = tmp_path / "made # one.db"
    with sqlite3.connect(file) as connection:
        for statement in CREATE:
            connection.execute(statement.format(s=""))
    connection.close()
    return f"sqlite:///{file}"


@pytest.fixture
def duck(tmp_path):
    file = tmp_path / "made.duckdb"
    with duckdb.connect(str(file)) as connection:
        for statement in CREATE:
            connection.execute(statement.format(s=""))
    return f"duckdb:///{file}"


@pytest.fixture
def postgres():
    """A schema of this test's own in the server's database, dropped afterwards."""
    schema = f"salvage_{uuid.uuid4().hex[:12]}"
    engine = sqlalchemy.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        for statement in CREATE:
            connection.exec_driver_sql(statement.format(s=f"{schema}."))
    yield schema
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


def _recipe():
    return parse_recipe(RECIPE, dictionary=load_dictionary())


def _table(source):
    return read_source(_recipe(), source).patients


def _expected(frame):
    assert frame["pid"].tolist() == ["P1", "P2", "P3"]
    assert frame["age"].dtype == float
    assert frame["age"].tolist()[0] == 61.5
    assert frame["age"].isna().tolist() == [False, True, False]
    cohort = follow(SourceTables(_recipe(), frame))
    assert cohort.patient(0) == {"disease": "dlbcl", "age": 61.5, "months_followed": 7.5, "died": True}
    assert cohort.patient(2)["died"] is None


@needs_postgres
@pytest.mark.parametrize("asked", ["{s}.patients", "SELECT * FROM {s}.patients ORDER BY pid;"])
def test_postgresql_is_read_as_a_file_is(postgres, asked):
    frame = read_sql(POSTGRES, asked.format(s=postgres))
    assert frame["relapse_date"][0] == pd.Timestamp("2020-03-01")
    _expected(frame)


@needs_postgres
def test_postgresql_plain_addresses_name_a_table_or_query(postgres):
    plain = POSTGRES.replace("+psycopg", "")
    _expected(_table(f"{plain}?table={postgres}.patients"))
    counted = _table(f"{POSTGRES}#WITH p AS (SELECT '10:30'::text AS t, 5 % 3 AS n) SELECT t, n FROM p")
    assert counted.iloc[0].tolist() == ["10:30", 2]


@needs_postgres
@pytest.mark.parametrize(
    "query",
    [
        "WITH gone AS (DELETE FROM {s}.patients RETURNING pid) SELECT * FROM gone",
        "SELECT * INTO {s}.copied FROM {s}.patients",
    ],
)
def test_postgresql_cannot_be_written(postgres, query):
    with pytest.raises(InvalidCohort):
        read_sql(POSTGRES, query.format(s=postgres))
    assert len(read_sql(POSTGRES, f"{postgres}.patients")) == 3
    with pytest.raises(InvalidCohort):
        read_sql(POSTGRES, f"{postgres}.copied")


@needs_postgres
def test_postgresql_values_never_enter_a_message(postgres):
    with pytest.raises(InvalidCohort) as error:
        read_sql(POSTGRES, f"SELECT pid::integer FROM {postgres}.patients")
    assert "P1" not in "".join(traceback.format_exception(error.value))


def test_sqlite_tables_and_queries(sqlite):
    _expected(read_sql(sqlite, "patients"))
    _expected(read_sql(sqlite, "main.patients"))
    assert read_sql(sqlite, "select count(*) as n from patients")["n"].tolist() == [3]


def test_sqlite_source_strings(tmp_path, sqlite):
    file = sqlite.removeprefix("sqlite:///")
    plain = tmp_path / "plain.db"
    plain.write_bytes(Path(file).read_bytes())
    _expected(_table(f"sqlite:///{plain}#patients"))
    _expected(_table(f"sqlite:///{plain}?table=patients"))
    _expected(_table(f"sqlite:///{plain}?query=SELECT%20*%20FROM%20patients"))
    _expected(_table(f"sqlite:///{plain}#SELECT * FROM patients -- # all"))


@pytest.mark.parametrize(
    "query", ["SELECT 1; DELETE FROM patients", "DELETE FROM patients", "PRAGMA user_version=3"]
)
def test_sqlite_cannot_be_written(sqlite, query):
    with pytest.raises(InvalidCohort):
        read_sql(sqlite, query)
    assert len(read_sql(sqlite, "patients")) == 3


def test_duckdb_tables_and_queries(duck):
    _expected(read_sql(duck, "patients"))
    _expected(read_sql(duck, "main.patients"))
    frame = _table(f"{duck}#SELECT pid, relapse_date FROM patients ORDER BY pid")
    assert frame["relapse_date"][0] == pd.Timestamp("2020-03-01")


@pytest.mark.parametrize(
    "asked", ["absent", "main.absent", "SELECT * FROM absent", "SELECT absent FROM patients"]
)
@pytest.mark.parametrize("kind", ["sqlite", "duck"])
def test_what_is_missing_is_named(kind, asked, request):
    with pytest.raises(InvalidCohort, match="absent") as error:
        read_sql(request.getfixturevalue(kind), asked)
    assert len(error.value.problems) == 1


@needs_postgres
@pytest.mark.parametrize("asked", ["absent", "nowhere.absent", "SELECT * FROM absent", "SELECT absent"])
def test_what_is_missing_is_named_in_postgresql(asked):
    with pytest.raises(InvalidCohort, match="absent"):
        read_sql(POSTGRES, asked)


def test_columns_of_one_name_are_refused(sqlite):
    with pytest.raises(InvalidCohort) as error:
        read_sql(sqlite, "SELECT a.pid, b.pid FROM patients a JOIN patients b ON a.pid = b.pid")
    assert [(p.field, p.problem) for p in error.value.problems] == [("pid", "names several columns")]


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://someone:s3cret@127.0.0.1:1/none?table=patients",
        "postgresql+psycopg://someone:s3cret@no.such.host.invalid/none?table=patients",
        "postgresql://someone:s3cret@127.0.0.1:port/none?table=patients",
        "postgresql://someone:s3cret@127.0.0.1:1/none?table=patients&no_such_option=s3cret",
        "postgresql://someone:s3cret@127.0.0.1/none",
        "postgresql://someone:s3cret#x@127.0.0.1/none?table=patients",
        "nosuch://someone:s3cret@127.0.0.1/none?table=patients",
        "mysql+aiomysqlnone://someone:s3cret@127.0.0.1/none?table=patients",
    ],
)
def test_a_password_never_stands_in_a_message(source):
    with pytest.raises(InvalidCohort) as error:
        _table(source)
    assert "s3cret" not in "".join(traceback.format_exception_only(error.value))
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__ or error.value.__context__ is None
    assert len(error.value.problems) == 1


def test_a_driver_that_is_not_installed_is_named():
    with pytest.raises(MissingExtra, match="oracledb"):
        read_sql("oracle+oracledb://someone:s3cret@127.0.0.1/none", "patients")


def test_absent_files_are_not_made(tmp_path):
    for kind in ("sqlite", "duckdb"):
        with pytest.raises(InvalidCohort, match="does not exist"):
            _table(f"{kind}:///{tmp_path}/absent.db#patients")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_files_that_are_no_database_are_refused(tmp_path, kind):
    (tmp_path / "no.db").write_text("this is no database, only a text of some length" * 50)
    with pytest.raises(InvalidCohort):
        _table(f"{kind}:///{tmp_path}/no.db#patients")


def test_a_file_is_still_a_file(tmp_path):
    (tmp_path / "c.csv").write_text("pid,age\nP1,60\n")
    assert _table(str(tmp_path / "c.csv"))["age"].tolist() == ["60"]


def test_files_are_read_without_loading_a_database_driver():
    script = "import sys, features.sources.build; print(*{n.partition('.')[0] for n in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert not {"sqlalchemy", "duckdb", "psycopg", "openpyxl"} & set(loaded.split())

"""OMOP CDM 5.4 in real DuckDB, SQLite and PostgreSQL; a dozen made patients, each with one twist."""

import contextlib
import datetime as dt
import os
import sqlite3
import uuid

import duckdb
import numpy as np
import pytest
import sqlalchemy

from features.cohort import Cohort, concatenate
from features.endpoints import overall_survival
from features.errors import InvalidCohort
from features.sources.build import build_cohort
from features.sources.omop import OmopRecipe
from features.sources.omop.disease import NO_DISEASE, SEVERAL_DISEASES
from features.sources.omop.follow_up import DEAD_BEFORE, OUTSIDE

POSTGRES = os.environ.get("SALVAGE_TEST_POSTGRES")
needs_postgres = pytest.mark.skipif(
    POSTGRES is None, reason="SALVAGE_TEST_POSTGRES holds no address of a PostgreSQL server"
)
KINDS = ["duckdb", "sqlite", pytest.param("postgresql", marks=needs_postgres)]
MONTH = 365.25 / 12

# The columns of CDM 5.4 that are required there, and those read here.
DDL = {
    "person": "person_id INTEGER, gender_concept_id INTEGER, year_of_birth INTEGER, month_of_birth INTEGER, "
    "day_of_birth INTEGER, race_concept_id INTEGER, ethnicity_concept_id INTEGER",
    "observation_period": "observation_period_id INTEGER, person_id INTEGER, "
    "observation_period_start_date DATE, observation_period_end_date DATE, period_type_concept_id INTEGER",
    "death": "person_id INTEGER, death_date DATE, death_type_concept_id INTEGER",
    "episode": "episode_id INTEGER, person_id INTEGER, episode_concept_id INTEGER, episode_start_date DATE, "
    "episode_end_date DATE, episode_parent_id INTEGER, episode_number INTEGER, "
    "episode_object_concept_id INTEGER, episode_type_concept_id INTEGER",
    "episode_event": "episode_id INTEGER, event_id INTEGER, episode_event_field_concept_id INTEGER",
    "condition_occurrence": "condition_occurrence_id INTEGER, person_id INTEGER, "
    "condition_concept_id INTEGER, condition_start_date DATE, condition_type_concept_id INTEGER, "
    "condition_source_concept_id INTEGER",
    "measurement": "measurement_id INTEGER, person_id INTEGER, measurement_concept_id INTEGER, "
    "measurement_date DATE, measurement_type_concept_id INTEGER, value_as_number NUMERIC(12,4), "
    "unit_concept_id INTEGER, unit_source_value VARCHAR(50)",
    "concept": "concept_id INTEGER, concept_name VARCHAR(255), vocabulary_id VARCHAR(20), "
    "concept_code VARCHAR(50)",
    "concept_ancestor": "ancestor_concept_id INTEGER, descendant_concept_id INTEGER, "
    "min_levels_of_separation INTEGER, max_levels_of_separation INTEGER",
}
DLBCL, NSCLC, GLIOBLASTOMA, NHL, RARE_LUNG, BREAST_ICD, LUNG_ICD, FLU = 101, 102, 103, 104, 105, 201, 202, 203
HB, LDH, CA125, ECOG, CRP = 301, 302, 303, 304, 305
GL, UL, MGL, FURLONG = 401, 402, 403, 404
FIRST, RECURRENCE, TREATMENT, PROGRESSION, PROGRESSION_OLD = 32528, 32529, 32531, 32949, 32677

CONCEPTS = [
    (0, "No matching concept", "None", "No matching concept"),
    (DLBCL, "DLBCL", "SNOMED", "109969005"),
    (NSCLC, "NSCLC", "SNOMED", "254637007"),
    (GLIOBLASTOMA, "Glioblastoma", "SNOMED", "393563007"),
    (NHL, "Non-Hodgkin lymphoma", "SNOMED", "118601006"),
    (RARE_LUNG, "A kind of NSCLC", "ICDO3", "8046/3-C34.1"),
    (BREAST_ICD, "Breast", "ICD10CM", "C50.911"),
    (LUNG_ICD, "Lung", "ICD10CM", "C34.10"),
    (FLU, "Influenza", "ICD10CM", "J10.1"),
    (HB, "Haemoglobin", "LOINC", "718-7"),
    (LDH, "LDH", "LOINC", "2532-0"),
    (CA125, "CA 125", "LOINC", "10334-1"),
    (ECOG, "ECOG", "LOINC", "89247-1"),
    (CRP, "CRP", "LOINC", "1988-5"),
    (GL, "g/L", "UCUM", "g/L"),
    (UL, "U/L", "UCUM", "U/L"),
    (MGL, "mg/L", "UCUM", "mg/L"),
    (FURLONG, "furlong", "UCUM", "[fur_us]"),
]
ANCESTORS = [
    (DLBCL, DLBCL, 0, 0), (NHL, NHL, 0, 0), (NHL, DLBCL, 1, 3),
    (NSCLC, NSCLC, 0, 0), (NSCLC, RARE_LUNG, 2, 2),
]  # fmt: skip
D = dt.date
INDEX, OBSERVED = D(2020, 1, 1), (D(2015, 1, 1), D(2022, 1, 1))


class Cdm:
    """Rows of a small CDM, added patient by patient, then written into any of three databases."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple]] = {name: [] for name in DDL}
        self.rows["concept"], self.rows["concept_ancestor"] = list(CONCEPTS), list(ANCESTORS)

    def _number(self, table: str) -> int:
        return 1000 + len(self.rows[table])

    def person(self, person, *, born=(1960, 1, 1), gender=8532, observed=OBSERVED, died=None):
        self.rows["person"].append((person, gender, *born, 0, 0))
        if observed:
            self.rows["observation_period"].append((self._number("observation_period"), person, *observed, 0))
        if died:
            self.rows["death"].append((person, died, 0))

    def episode(self, person, concept, start, *, about=0, number=None, parent=None) -> int:
        key = self._number("episode")
        self.rows["episode"].append((key, person, concept, start, None, parent, number, about, 0))
        return key

    def condition(self, person, concept, start, *, source=0, episode=None):
        key = self._number("condition_occurrence")
        self.rows["condition_occurrence"].append((key, person, concept, start, 0, source))
        if episode:
            self.rows["episode_event"].append((episode, key, 1147127))

    def measured(self, person, concept, day, value, unit=0, written=None) -> int:
        key = self._number("measurement")
        self.rows["measurement"].append((key, person, concept, day, 0, value, unit, written))
        return key


def _made() -> Cdm:
    cdm = Cdm()
    cdm.person(1, died=D(2021, 1, 1))
    cdm.episode(1, FIRST, D(2018, 1, 1), about=DLBCL)
    cdm.episode(1, TREATMENT, D(2018, 2, 1), number=1)
    cdm.episode(1, TREATMENT, INDEX, number=2)
    cdm.episode(1, PROGRESSION, INDEX, about=DLBCL)
    cdm.episode(1, PROGRESSION, D(2020, 6, 1), about=NSCLC)
    cdm.measured(1, HB, D(2019, 12, 5), 90, GL)
    cdm.measured(1, HB, D(2019, 12, 22), 120, GL)
    cdm.measured(1, HB, D(2020, 1, 2), 70, GL)
    cdm.measured(1, LDH, D(2019, 11, 1), 999, UL)
    cdm.measured(1, CRP, INDEX, 12, 0, "mg/L")
    cdm.measured(1, ECOG, D(2019, 12, 30), 1)

    cdm.person(2, born=(1970, None, None), gender=0)
    cdm.episode(2, RECURRENCE, INDEX)
    cdm.condition(2, 0, D(2016, 1, 1), source=BREAST_ICD)
    cdm.condition(2, 0, D(2016, 1, 1), source=FLU)

    cdm.person(3, born=(1950, 6, None), gender=8507)
    cdm.episode(3, PROGRESSION_OLD, INDEX, about=RARE_LUNG)
    for start in (D(2018, 1, 1), D(2018, 5, 1)):
        cdm.episode(3, TREATMENT, start, number=1)
    cdm.episode(3, TREATMENT, D(2019, 1, 1), number=2)
    cdm.measured(3, CA125, D(2019, 12, 31), 20, 0, "U/mL")

    cdm.person(4)
    cdm.episode(4, PROGRESSION, INDEX)
    cdm.condition(4, 0, D(2019, 1, 1), source=LUNG_ICD)

    cdm.person(5)
    cdm.episode(5, PROGRESSION, INDEX)
    cdm.condition(5, DLBCL, D(2019, 1, 1))
    cdm.condition(5, NSCLC, D(2019, 1, 1))

    cdm.person(6, observed=(D(2015, 1, 1), D(2019, 1, 1)))
    cdm.episode(6, PROGRESSION, INDEX, about=DLBCL)

    cdm.person(7, died=D(2019, 12, 1))
    cdm.episode(7, PROGRESSION, INDEX, about=DLBCL)

    cdm.person(8, died=INDEX)
    cdm.episode(8, PROGRESSION, INDEX, about=DLBCL)

    cdm.person(9)
    cdm.episode(9, FIRST, INDEX, about=DLBCL)

    cdm.person(10, observed=(D(2015, 1, 1), D(2020, 12, 31)), died=D(2021, 6, 1))
    cdm.episode(10, PROGRESSION, INDEX, about=DLBCL)

    cdm.person(11, observed=(D(2015, 1, 1), D(2020, 12, 31)), died=D(2021, 1, 15))
    cdm.condition(11, 0, D(2010, 1, 1), source=BREAST_ICD)
    cdm.condition(11, GLIOBLASTOMA, D(2019, 1, 1), episode=cdm.episode(11, PROGRESSION, INDEX))

    cdm.person(12)
    disease = cdm.episode(12, FIRST, D(2017, 1, 1), about=DLBCL)
    cdm.episode(12, TREATMENT, D(2017, 2, 1), number=1, parent=disease)
    cdm.episode(12, TREATMENT, D(2019, 7, 1), number=2, parent=disease)
    return cdm


def _insert(name: str, schema: str, mark: str) -> str:
    return f"INSERT INTO {schema}{name} VALUES ({', '.join([mark] * len(DDL[name].split(', ')))})"


def _create(name: str, schema: str = "") -> str:
    return f"CREATE TABLE {schema}{name} ({DDL[name]})"


@contextlib.contextmanager
def _stored(cdm: Cdm, kind: str, folder, *, without: str | None = None, epoch: bool = False):
    """Write the CDM into a database; yield its address and schema."""
    tables = [name for name in DDL if name != without]
    if kind == "postgresql":
        schema = f"salvage_{uuid.uuid4().hex[:12]}"
        engine = sqlalchemy.create_engine(POSTGRES)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
                for name in tables:
                    connection.exec_driver_sql(_create(name, f"{schema}."))
                    if cdm.rows[name]:
                        connection.exec_driver_sql(_insert(name, f"{schema}.", "%s"), cdm.rows[name])
            yield POSTGRES, schema
        finally:
            with engine.begin() as connection:
                connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
            engine.dispose()
        return
    file = folder / f"cdm-{uuid.uuid4().hex[:8]}.{kind}"
    store = _seconds if epoch else (lambda value: value.isoformat() if isinstance(value, D) else value)
    connect = duckdb.connect if kind == "duckdb" else sqlite3.connect
    with contextlib.closing(connect(str(file))) as connection:
        for name in tables:
            connection.execute(_create(name))
            for row in cdm.rows[name]:
                connection.execute(_insert(name, "", "?"), [store(value) for value in row])
        connection.commit()
    yield f"{kind}:///{file}", None


def _seconds(value):
    """Return a day as OHDSI's tools store it in SQLite."""
    return float((value - D(1970, 1, 1)).days * 86400) if isinstance(value, D) else value


def _read(
    cdm: Cdm, kind: str, folder, *, without: str | None = None, epoch: bool = False, **options
) -> Cohort:
    with _stored(cdm, kind, folder, without=without, epoch=epoch) as (url, schema):
        return build_cohort(OmopRecipe(schema=schema, evidence="synthetic", **options), url)


def _by_patient(cohort: Cohort) -> dict[str, dict]:
    return {patient: cohort.patient(row) for row, patient in enumerate(cohort.patients)}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    return _read(_made(), "duckdb", tmp_path_factory.mktemp("cdm"), citation="made")


@pytest.mark.parametrize("kind", KINDS)
def test_three_databases_give_one_cohort(kind, cohort, tmp_path):
    assert _read(_made(), kind, tmp_path, citation="made").fingerprint() == cohort.fingerprint()


def test_sqlite_dates_in_seconds_give_the_same_cohort(cohort, tmp_path):
    assert _read(_made(), "sqlite", tmp_path, epoch=True).fingerprint() == cohort.fingerprint()


def test_sqlite_days_with_and_without_a_time_are_the_same_day(cohort, tmp_path):
    cdm = _made()
    cdm.rows["measurement"] = [
        (*row[:3], f"{row[3].isoformat()} 08:30:00", *row[4:]) for row in cdm.rows["measurement"]
    ]
    assert _read(cdm, "sqlite", tmp_path).fingerprint() == cohort.fingerprint()


def test_who_is_in_and_who_is_left_out_for_what(cohort):
    assert cohort.patients == ("1", "2", "3", "10", "11")
    attrition = cohort.provenance[0].attrition
    assert attrition.read == 12
    assert attrition.kept == len(cohort)
    assert {step.reason: step.excluded for step in attrition.exclusions} == {
        "no episode of progression or recurrence": 2,
        NO_DISEASE: 1,
        SEVERAL_DISEASES: 1,
        OUTSIDE: 1,
        DEAD_BEFORE: 1,
        "no follow-up after the index date": 1,
    }


def test_diseases_by_episode_linked_condition_ancestor_and_icd_code(cohort):
    assert cohort.text("disease") == ["dlbcl", "breast_cancer", "nsclc", "dlbcl", "glioblastoma"]


def test_a_patient_as_worked_by_hand(cohort):
    patient = _by_patient(cohort)["1"]
    assert patient["age"] == pytest.approx(21915 / 365.25)
    assert patient["sex"] == "female"
    assert patient["prior_lines"] == 1
    assert patient["months_diagnosis_to_relapse"] == pytest.approx(730 / MONTH)
    assert patient["haemoglobin"] == pytest.approx(12.0)
    assert patient["c_reactive_protein"] == 12.0
    assert patient["ecog"] == "ecog_1"
    assert patient["months_followed"] == pytest.approx(366 / MONTH)
    assert patient["died"] is True


def test_nothing_later_than_the_index_date_or_before_the_window_is_read(cohort):
    assert "ldh" not in cohort.dictionary
    assert _by_patient(cohort)["1"]["haemoglobin"] == pytest.approx(12.0)


def test_incomplete_births_and_unknown_sex(cohort):
    patients = _by_patient(cohort)
    assert patients["2"]["sex"] is None
    assert patients["2"]["age"] == pytest.approx(49.5, abs=0.01)
    assert patients["3"]["age"] == pytest.approx(69.55, abs=0.01)


def test_treatments_of_one_number_are_one_line(cohort):
    assert [cohort.patient(row)["prior_lines"] for row in range(5)] == [1, 0, 2, 0, 0]


def test_a_marker_without_meaning_in_the_disease_is_not_taken(cohort):
    assert "ca_125" not in cohort.dictionary


def test_a_late_death_is_censored_and_said(cohort):
    patients = _by_patient(cohort)
    assert (patients["10"]["died"], patients["11"]["died"]) == (False, True)
    assert patients["10"]["months_followed"] == pytest.approx(365 / MONTH)
    assert patients["11"]["months_followed"] == pytest.approx(380 / MONTH)
    assert any("1 deaths recorded later" in words for words in cohort.provenance[0].selection)


def test_a_longer_grace_counts_it(tmp_path):
    patients = _by_patient(_read(_made(), "duckdb", tmp_path, death_grace_days=365))
    assert patients["10"]["died"] is True


def test_the_cohort_is_like_any_other(cohort, tmp_path):
    assert len(overall_survival(cohort)) == 5
    cohort.write(tmp_path / "cohort.parquet")
    assert Cohort.read(tmp_path / "cohort.parquet").fingerprint() == cohort.fingerprint()
    assert len(concatenate([cohort])) == 5
    assert cohort.evidence == "synthetic"


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_treatment_may_start_the_clock(kind, tmp_path):
    cohort = _read(_made(), kind, tmp_path, index="second_treatment")
    assert cohort.patients == ("1", "12")
    assert cohort.provenance[0].index_event == "start of the second treatment episode"
    assert [cohort.patient(row)["prior_lines"] for row in range(2)] == [1, 1]
    assert cohort.patient(1)["months_diagnosis_to_relapse"] == pytest.approx(911 / MONTH)
    assert cohort.text("disease") == ["dlbcl", "dlbcl"]
    assert {s.reason: s.excluded for s in cohort.provenance[0].attrition.exclusions}[NO_DISEASE] == 1


def test_without_ancestors_only_exact_codes_count(tmp_path):
    assert "3" not in _read(_made(), "duckdb", tmp_path, without="concept_ancestor").patients


def test_without_any_treatment_episode_lines_are_unknown_not_none(tmp_path):
    cdm = _made()
    cdm.rows["episode"] = [row for row in cdm.rows["episode"] if row[2] != TREATMENT]
    assert "prior_lines" not in _read(cdm, "duckdb", tmp_path).dictionary


@pytest.mark.parametrize("kind", KINDS)
def test_every_missing_table_and_column_is_named(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(DDL, "death", "person_id INTEGER, death_day DATE, death_type_concept_id INTEGER")
    with pytest.raises(InvalidCohort) as error:
        _read(_made(), kind, tmp_path, without="measurement")
    assert {(p.field, p.problem) for p in error.value.problems} == {
        ("measurement", "table is missing"),
        ("death.death_date", "column is missing"),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_that_breaks_a_rule_is_named_at_once(kind, tmp_path):
    cdm = _made()
    furlongs = cdm.measured(1, LDH, INDEX, 250, FURLONG)
    too_much = cdm.measured(2, HB, INDEX, 900, GL)
    no_grade = cdm.measured(3, ECOG, INDEX, 1.5)
    cdm.person(20, born=(2021, 1, 1))
    cdm.episode(20, PROGRESSION, INDEX, about=DLBCL)
    cdm.person(21, born=(1960, 2, 31))
    cdm.episode(21, PROGRESSION, INDEX, about=DLBCL)
    cdm.episode(99, PROGRESSION, INDEX, about=DLBCL)
    cdm.person(22, observed=(D(2021, 1, 1), D(2020, 1, 1)))
    cdm.episode(22, PROGRESSION, INDEX, about=DLBCL)
    with pytest.raises(InvalidCohort) as error:
        _read(cdm, kind, tmp_path)
    period = cdm.rows["observation_period"][-1][0]
    assert {(p.field, p.problem, p.rows, p.examples) for p in error.value.problems} == {
        ("measurement: ldh", "has an unknown unit", 1, (furlongs,)),
        ("measurement: haemoglobin", "out of range", 1, (too_much,)),
        ("measurement: ecog", "unknown category", 1, (no_grade,)),
        ("age", "out of range", 1, (20,)),
        ("person", "has an impossible birth date", 1, (21,)),
        ("episode.person_id", "is not in the table person", 1, (99,)),
        ("observation_period", "ends before it starts", 1, (period,)),
    }


def test_dates_that_cannot_be_read_are_named_by_record(tmp_path):
    cdm = _made()
    wrong = cdm.episode(1, PROGRESSION, "sometime", about=DLBCL)
    missing = cdm.episode(2, PROGRESSION, None, about=DLBCL)
    with pytest.raises(InvalidCohort) as error:
        _read(cdm, "sqlite", tmp_path)
    assert [(p.field, p.examples) for p in error.value.problems] == [
        ("episode.episode_start_date", (wrong, missing))
    ]
    assert "sometime" not in str(error.value)


def test_unknown_units_may_be_left_out_and_are_counted(tmp_path):
    cdm = _made()
    cdm.measured(1, HB, D(2019, 12, 31), 250, FURLONG)
    cohort = _read(cdm, "duckdb", tmp_path, unknown_units="missing")
    assert _by_patient(cohort)["1"]["haemoglobin"] == pytest.approx(12.0)
    assert "1 laboratory values in unknown units were left out" in cohort.provenance[0].selection


def test_no_patient_left_is_said_with_the_reasons(tmp_path):
    cdm = Cdm()
    cdm.person(1)
    cdm.episode(1, PROGRESSION, INDEX)
    with pytest.raises(InvalidCohort, match="1 left out: no condition code"):
        _read(cdm, "duckdb", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cdm_without_patients_or_concepts_is_refused_not_a_crash(kind, tmp_path):
    cdm = Cdm()
    cdm.rows["concept"], cdm.rows["concept_ancestor"] = [], []
    with pytest.raises(InvalidCohort, match="nobody left of 0"):
        _read(cdm, kind, tmp_path)


@pytest.mark.parametrize(
    "options", [{"evidence": "hearsay"}, {"index": "birthday"}, {"unknown_units": "guess"}, {"schema": "a b"}]
)
def test_choices_are_checked(options, tmp_path):
    with pytest.raises(InvalidCohort):
        build_cohort(OmopRecipe(**({"evidence": "real"} | options)), f"duckdb:///{tmp_path}/absent.duckdb")


def test_many_patients_are_read_in_seconds(tmp_path):
    cdm = Cdm()
    rng = np.random.default_rng(0)
    days = rng.integers(1, 2000, size=2000).tolist()
    for person, followed in enumerate(days, start=1):
        cdm.person(person, observed=(D(2015, 1, 1), INDEX + dt.timedelta(days=followed)))
        cdm.episode(person, PROGRESSION, INDEX, about=DLBCL)
        cdm.measured(person, HB, INDEX, 120, GL)
    with _stored(cdm, "sqlite", tmp_path) as (url, _):
        cohort = build_cohort(OmopRecipe(evidence="synthetic"), url)
    assert np.allclose(cohort.values["months_followed"], np.array(days) / MONTH)

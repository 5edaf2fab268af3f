"""Extracting patients with an index date from a CDM: predictors, disease and follow-up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from features.dictionary import Dictionary
from features.eligibility import NO_FOLLOW_UP, Attrition, has_follow_up
from features.errors import InvalidCohort, Problem
from features.sources.forms import MONTH, YEAR
from features.sources.omop.cdm import Cdm, days_between, listed
from features.sources.omop.disease import (
    NO_DISEASE,
    SEVERAL_DISEASES,
    ConceptDiseases,
    patient_diseases,
    read_diseases,
)
from features.sources.omop.follow_up import FollowUp, read_follow_up
from features.sources.omop.laboratory import LaboratoryValues, loinc_fields, read_laboratory
from features.sources.omop.recipe import RECURRENCE_OR_PROGRESSION, TREATMENT, OmopRecipe

FIRST_OCCURRENCE = 32528
CONDITION_EVENT = 1147127  # an episode's event that is a condition_occurrence
SEX = {8507: "male", 8532: "female"}


@dataclass(frozen=True)
class IndexedPatients:
    """The persons with an index date; ``frame`` holds their predictors, one row a person."""

    frame: pd.DataFrame
    diseases: Mapping[int, frozenset[str]]
    follow_up: FollowUp
    laboratory: LaboratoryValues
    attrition: Attrition


def read_indexed(cdm: Cdm, recipe: OmopRecipe, dictionary: Dictionary) -> IndexedPatients:
    """Read predictors and follow-up of everyone with an index episode.

    Raises:
        InvalidCohort: when nobody has one, and naming by its id every record that breaks a rule.

    """
    episode, rule = cdm.table("episode"), recipe.index_rule
    persons = f"SELECT person_id FROM {episode} WHERE {rule.condition}"
    episodes = _episodes(cdm, persons)
    starts = episodes[rule.matches(episodes) & episodes["start"].notna()]
    index = starts.groupby("person_id")["start"].min()
    everyone = int(cdm.read(f"SELECT COUNT(*) AS persons FROM {cdm.table('person')}")["persons"].iloc[0])
    attrition = Attrition(everyone).then(rule.reason, everyone - len(index))
    if index.empty:
        cdm.raise_problems()
        raise _nobody_left(attrition)
    first = starts[starts["start"] == starts["person_id"].map(index)]
    diseases = read_diseases(cdm, disease=dictionary["disease"])
    evidence = _disease_evidence(cdm, episodes, first, index, diseases, persons)
    decided = patient_diseases(evidence, diseases, persons=index.index)
    dates = f"SELECT person_id, MIN(episode_start_date) AS index_date FROM {episode} "
    laboratory = read_laboratory(
        cdm, index, fields=loinc_fields(dictionary), days=recipe.lab_days, unknown_units=recipe.unknown_units,
        index_query=f"{dates} WHERE {rule.condition} GROUP BY person_id",
    )  # fmt: skip
    follow_up = read_follow_up(cdm, index, persons=persons, grace_days=recipe.death_grace_days)
    columns = _persons(cdm, index, persons) | _history(episodes, index)
    _check_ranges(cdm, columns, dictionary)
    cdm.raise_problems()
    columns |= _applicable(laboratory, decided, dictionary)
    frame = pd.DataFrame(columns, index=index.index)
    return IndexedPatients(frame, decided, follow_up, laboratory, attrition)


def _episodes(cdm: Cdm, persons: str) -> pd.DataFrame:
    episodes = cdm.read(
        "SELECT episode_id, person_id, episode_concept_id, episode_start_date, episode_parent_id, "
        "episode_number, episode_object_concept_id "
        f"FROM {cdm.table('episode')} WHERE person_id IN ({persons})"
    )
    return episodes.assign(start=cdm.dates(episodes, "episode", "episode_start_date", key="episode_id"))


def _disease_evidence(
    cdm: Cdm, episodes: pd.DataFrame, first: pd.DataFrame, index: "pd.Series[Any]", diseases: ConceptDiseases,
    persons: str,
) -> list[pd.DataFrame]:  # fmt: skip
    """Return the concepts that may state a disease, the strongest evidence first.

    The order is: the index episode and its parent, conditions linked to them, disease episodes by the index
    date, conditions by the index date.
    """
    parents = episodes[episodes["episode_id"].isin(first["episode_parent_id"].dropna())]
    own = pd.concat([first, parents])
    of_disease = episodes["episode_concept_id"].isin([FIRST_OCCURRENCE, *RECURRENCE_OR_PROGRESSION])
    known_then = episodes[of_disease & (episodes["start"] <= episodes["person_id"].map(index))]
    columns = "c.person_id, c.condition_occurrence_id, c.condition_start_date, c.condition_concept_id, "
    conditions = f"{columns} c.condition_source_concept_id FROM {cdm.table('condition_occurrence')} c"
    linked = cdm.read(
        f"SELECT v.episode_id, {conditions} JOIN {cdm.table('episode_event')} v "
        f"ON v.event_id = c.condition_occurrence_id AND v.episode_event_field_concept_id = {CONDITION_EVENT} "
        f"WHERE c.person_id IN ({persons})"
    )
    linked = linked[linked["episode_id"].isin(own["episode_id"])]
    known = listed(diseases.meant)
    earlier = cdm.read(
        f"SELECT {conditions} WHERE c.person_id IN ({persons}) AND "
        f"(c.condition_concept_id IN ({known}) OR c.condition_source_concept_id IN ({known}))"
    )
    days = cdm.dates(earlier, "condition_occurrence", "condition_start_date", key="condition_occurrence_id")
    earlier = earlier[days <= earlier["person_id"].map(index)]
    return [
        _concepts(own, "episode_object_concept_id"),
        _concepts(linked, "condition_concept_id", "condition_source_concept_id"),
        _concepts(known_then, "episode_object_concept_id"),
        _concepts(earlier, "condition_concept_id", "condition_source_concept_id"),
    ]


def _concepts(records: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Return the concepts in these columns of records as one long table, with their persons."""
    parts = [
        records[["person_id", column]].set_axis(["person_id", "concept_id"], axis=1) for column in columns
    ]
    return pd.concat(parts, ignore_index=True)


def _persons(cdm: Cdm, index: "pd.Series[Any]", persons: str) -> dict[str, "pd.Series[Any]"]:
    """Return age in years and sex; a birth date without month or day becomes the middle of its period."""
    frame = cdm.read(
        "SELECT person_id, gender_concept_id, year_of_birth, month_of_birth, day_of_birth "
        f"FROM {cdm.table('person')} WHERE person_id IN ({persons})"
    )
    again = frame.loc[frame["person_id"].duplicated(), "person_id"]
    cdm.blame("person", "stands in several rows", "keep one row a person, named by person_id", again)
    absent = index.index[~index.index.isin(frame["person_id"])]
    cdm.blame(
        "episode.person_id", "is not in the table person", "add the person, or remove its episodes", absent
    )
    frame = frame.drop_duplicates("person_id").set_index("person_id").reindex(index.index)
    parts = {
        "year": frame["year_of_birth"],
        "month": frame["month_of_birth"].fillna(7),
        "day": frame["day_of_birth"].fillna(frame["month_of_birth"].isna().map({True: 1, False: 15})),
    }
    born = pd.to_datetime(
        pd.DataFrame({name: part.astype(float) for name, part in parts.items()}), errors="coerce"
    )
    wrong = frame.index[born.isna() & frame["year_of_birth"].notna()]
    cdm.blame("person", "has an impossible birth date", "correct it; persons are named by person_id", wrong)
    return {
        "age": days_between(born, index) / YEAR,
        "sex": frame["gender_concept_id"].map(SEX).astype(object),
    }


def _history(episodes: pd.DataFrame, index: "pd.Series[Any]") -> dict[str, "pd.Series[Any]"]:
    """Return lines of therapy before the index date, and months since the first disease occurrence.

    Treatment episodes with the same number are one line. Without any treatment episode in the database there
    is no ``prior_lines``.
    """
    at = episodes["person_id"].map(index)
    first_occurrences = episodes[
        (episodes["episode_concept_id"] == FIRST_OCCURRENCE) & (episodes["start"] <= at)
    ]
    diagnosed = first_occurrences.groupby("person_id")["start"].min().reindex(index.index)
    history = {"months_diagnosis_to_relapse": days_between(diagnosed, index) / MONTH}
    treatments = episodes[episodes["episode_concept_id"] == TREATMENT]
    if len(treatments):
        before = treatments[treatments["start"] < treatments["person_id"].map(index)]
        line = before["episode_number"].where(before["episode_number"].notna(), -before["episode_id"])
        lines = line.groupby(before["person_id"]).nunique()
        history["prior_lines"] = lines.reindex(index.index).fillna(0)
    return history


def _check_ranges(cdm: Cdm, columns: Mapping[str, "pd.Series[Any]"], dictionary: Dictionary) -> None:
    for name, column in columns.items():
        faults = dictionary[name].read_series(column.reset_index(drop=True)).faults
        for fault, rows in faults.items():
            remedy = f"expected {dictionary[name].expected}; persons are named by person_id"
            cdm.blame(name, fault, remedy, column.index.to_numpy()[list(rows)])


def _applicable(
    laboratory: LaboratoryValues, diseases: Mapping[int, frozenset[str]], dictionary: Dictionary
) -> dict[str, "pd.Series[Any]"]:
    """Return laboratory values without those of persons to whose disease the field does not apply."""
    kept = {}
    for name, values in laboratory.values.items():
        applies: Callable[[str], bool] = dictionary[name].applies
        meant = [any(map(applies, diseases.get(int(person), frozenset()))) for person in values.index]
        if any(meant):
            kept[name] = values[meant]
    return kept


def include(indexed: IndexedPatients) -> tuple[pd.DataFrame, Attrition]:
    """Return the included persons and the attrition, everyone excluded counted once, under the first reason.

    Raises:
        InvalidCohort: when nobody is left.

    """
    none = frozenset(p for p, names in indexed.diseases.items() if not names)
    several = frozenset(p for p, names in indexed.diseases.items() if len(names) > 1)
    months = indexed.follow_up.months
    followed = has_follow_up(months.to_numpy(dtype=float))
    reasons = {NO_DISEASE: none, SEVERAL_DISEASES: several, **indexed.follow_up.left_out}
    reasons[NO_FOLLOW_UP] = frozenset(int(person) for person in months.index[~followed])
    attrition, frame = indexed.attrition, indexed.frame
    for reason, persons in reasons.items():
        out = frame.index.isin(list(persons))
        attrition, frame = attrition.then(reason, int(out.sum())), frame[~out]
    if frame.empty:
        raise _nobody_left(attrition)
    named = frame.assign(
        disease=[next(iter(indexed.diseases[int(person)])) for person in frame.index],
        months_followed=months.reindex(frame.index),
        died=indexed.follow_up.died.reindex(frame.index).astype(bool),
        patient=[str(person) for person in frame.index],
    )
    return named.dropna(axis="columns", how="all").reset_index(drop=True), attrition


def _nobody_left(attrition: Attrition) -> InvalidCohort:
    counted = "; ".join(f"{step.excluded} left out: {step.reason}" for step in attrition.exclusions)
    return InvalidCohort("OMOP CDM", [Problem("cohort", f"has nobody left of {attrition.read}", counted)])

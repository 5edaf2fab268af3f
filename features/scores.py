"""Published prognostic scores at salvage, computed from a cohort.

``scores.yaml`` holds each score's inputs, points, risk groups and published outcomes. A patient who lacks an
input gets no score: none is imputed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from features.censoring import BoolArray
from features.cohort import Cohort
from features.dictionary import FloatArray
from features.errors import NotFound


@dataclass(frozen=True)
class PointRule:
    """Points where an input meets every bound and category given; without any, wherever it is known."""

    points: int
    below: float | None = None
    up_to: float | None = None
    over: float | None = None
    least: float | None = None
    categories: tuple[object, ...] | None = None


@dataclass(frozen=True)
class ScoreItem:
    """One input of a score and its rules; the first rule that is met gives the points."""

    input: str
    rules: tuple[PointRule, ...]


@dataclass(frozen=True)
class ScoreGroup:
    """A risk group: its highest total of points, and the outcomes published for it."""

    name: str
    up_to: int
    published: Mapping[str, str]


@dataclass(frozen=True)
class Score:
    """A published score: the sum of ``items``, mapped by ``regroup`` to coarser points, plus ``after``."""

    name: str
    title: str
    applies_to: tuple[str, ...]
    time_zero: str
    source: str
    verified: bool
    unverified: str | None
    items: tuple[ScoreItem, ...]
    regroup: tuple[PointRule, ...]
    after: tuple[ScoreItem, ...]
    groups: tuple[ScoreGroup, ...]
    note: str | None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the inputs: dictionary fields, or names in ``DERIVED``."""
        return tuple(item.input for item in (*self.items, *self.after))


@dataclass(frozen=True)
class ScoredCohort:
    """A cohort's points, shape (patients,), and groups; NaN and None where there is no score.

    ``patients`` counts those with one of the score's diseases, ``missing`` by input those who lack it.
    """

    score: Score
    points: FloatArray
    groups: tuple[str | None, ...]
    missing: Mapping[str, int]
    patients: int

    def as_dict(self) -> dict[str, Any]:
        """Return the size of each group and the missing inputs as JSON values."""
        names = [group.name for group in self.score.groups]
        return {
            "score": self.score.name,
            "title": self.score.title,
            "time_zero": self.score.time_zero,
            "source": self.score.source,
            "verified": self.score.verified,
            "unverified": self.score.unverified,
            "patients": self.patients,
            "groups": {name: self.groups.count(name) for name in names},
            "missing": dict(self.missing),
        }


def score_names() -> tuple[str, ...]:
    """Return the names of the published scores.

    >>> "breems_epi" in score_names()
    True
    """
    return tuple(_scores())


def load_score(name: str) -> Score:
    """Return a score by name.

    Raises:
        NotFound: for an unknown name.

    """
    if name not in _scores():
        raise NotFound(f"no score {name}; known: {', '.join(_scores())}")
    return _scores()[name]


def compute(score: Score, cohort: Cohort) -> ScoredCohort:
    """Compute a score for the patients with one of its diseases; those who lack an input get none."""
    concerned = np.isin(np.array(cohort.text("disease"), dtype=object), score.applies_to)
    values = {name: _input(cohort, name) for name in score.inputs}
    points = sum((_points(item, values[item.input]) for item in score.items), np.zeros(len(cohort)))
    if score.regroup:
        points = _first_met(score.regroup, points, ())
    points = points + sum((_points(item, values[item.input]) for item in score.after), np.zeros(len(cohort)))
    points = np.where(concerned, points, np.nan)
    missing = {name: int((np.isnan(v.numbers) & concerned).sum()) for name, v in values.items()}
    return ScoredCohort(
        score, points, tuple(_group(score, value) for value in points.tolist()), missing, int(concerned.sum())
    )


@dataclass(frozen=True)
class _Input:
    numbers: FloatArray
    categories: tuple[object, ...]


def _input(cohort: Cohort, name: str) -> _Input:
    if name in DERIVED:
        return _Input(DERIVED[name](cohort), (False, True))
    numbers = _column(cohort, name)
    if name not in cohort.dictionary:
        return _Input(numbers, ())
    field = cohort.dictionary[name]
    return _Input(numbers, (False, True) if field.type == "flag" else field.category_names)


def _points(item: ScoreItem, given: _Input) -> FloatArray:
    return _first_met(item.rules, given.numbers, given.categories)


def _first_met(
    rules: tuple[PointRule, ...], numbers: FloatArray, categories: tuple[object, ...]
) -> FloatArray:
    points = np.full(numbers.shape, np.nan)
    open_ = ~np.isnan(numbers)
    for rule in rules:
        met = open_ & _meets(rule, numbers, categories)
        points[met] = rule.points
        open_ &= ~met
    return points


def _meets(rule: PointRule, numbers: FloatArray, categories: tuple[object, ...]) -> BoolArray:
    met = np.ones(numbers.shape, dtype=bool)
    for bound, holds in (
        (rule.below, np.less),
        (rule.up_to, np.less_equal),
        (rule.over, np.greater),
        (rule.least, np.greater_equal),
    ):
        if bound is not None:
            met &= holds(numbers, bound)
    if rule.categories is not None:
        met &= np.isin(numbers, [categories.index(c) for c in rule.categories if c in categories])
    return met


def _group(score: Score, points: float) -> str | None:
    if np.isnan(points):
        return None
    return next(group.name for group in score.groups if points <= group.up_to)


def _column(cohort: Cohort, name: str) -> FloatArray:
    column = cohort.values.get(name)
    return np.full(len(cohort), np.nan) if column is None else column


def _any(cohort: Cohort, *names: str) -> FloatArray:
    """Return 1 where any flag is true, 0 where all are false, else NaN."""
    flags = np.stack([_column(cohort, name) for name in names])
    positive = (flags == 1.0).any(axis=0)
    return np.where(positive, 1.0, np.where(np.isnan(flags).any(axis=0), np.nan, 0.0))


def _under(cohort: Cohort, limit: float, ecog: int) -> FloatArray:
    """Return 0/1 for Karnofsky below a limit; where it is missing, for ECOG at or above its equivalent."""
    karnofsky, grade = _column(cohort, "karnofsky"), _column(cohort, "ecog")
    by_ecog = np.where(np.isnan(grade), np.nan, grade >= ecog)
    under: FloatArray = np.where(np.isnan(karnofsky), by_ecog, karnofsky < limit)
    return under


def _early_or_refractory(cohort: Cohort) -> FloatArray:
    months, status = _column(cohort, "months_of_response"), cohort.text_or_missing("disease_status")
    refractory = np.isin(np.array(status, dtype=object), ["primary_refractory", "refractory"])
    early = np.where(np.isnan(months), np.nan, months < 12)
    return np.where(refractory, 1.0, early)


def _derived_ratio(cohort: Cohort) -> FloatArray:
    neutrophils, white_cells = _column(cohort, "neutrophils"), _column(cohort, "white_cells")
    others = white_cells - neutrophils
    unknown = np.full(len(cohort), np.nan)
    ratio: FloatArray = np.divide(neutrophils, others, out=unknown, where=others > 0)
    return ratio


def _pure_seminoma(cohort: Cohort) -> FloatArray:
    histology = cohort.text_or_missing("histology")
    return np.array([np.nan if h is None else float(h == "seminoma") for h in histology])


DERIVED: Mapping[str, Callable[[Cohort], FloatArray]] = {
    "prior_transplant": lambda c: _any(c, "prior_autologous_transplant", "prior_allogeneic_transplant"),
    "liver_bone_or_brain": lambda c: _any(c, "site_liver", "site_bone", "site_brain"),
    "relapse_within_12_months_or_refractory": _early_or_refractory,
    "karnofsky_under_80": lambda c: _under(c, 80, 2),
    "karnofsky_under_90": lambda c: _under(c, 90, 1),
    "derived_neutrophil_lymphocyte_ratio": _derived_ratio,
    "pure_seminoma": _pure_seminoma,
}


@cache
def _scores() -> Mapping[str, Score]:
    text = resources.files("features").joinpath("scores.yaml").read_text(encoding="utf-8")
    declared = yaml.load(text, Loader=yaml.CSafeLoader)["scores"]
    return {name: _score(name, entry) for name, entry in declared.items()}


def _score(name: str, entry: Mapping[str, Any]) -> Score:
    return Score(
        name=name,
        title=entry["title"],
        applies_to=tuple(entry["applies_to"]),
        time_zero=entry["time_zero"],
        source=entry["source"],
        verified=entry["verified"] == "yes",
        unverified=entry.get("unverified"),
        items=tuple(_item(item) for item in entry["items"]),
        regroup=tuple(_rule(rule) for rule in entry.get("regroup", ())),
        after=tuple(_item(item) for item in entry.get("after", ())),
        groups=tuple(ScoreGroup(g["name"], g["up_to"], g["published"]) for g in entry["groups"]),
        note=entry.get("note"),
    )


def _item(entry: Mapping[str, Any]) -> ScoreItem:
    return ScoreItem(entry["input"], tuple(_rule(rule) for rule in entry["rules"]))


def _rule(entry: Mapping[str, Any]) -> PointRule:
    categories = tuple(entry["is"]) if "is" in entry else None
    bounds = {name: entry.get(name) for name in ("below", "up_to", "over")}
    return PointRule(entry["points"], **bounds, least=entry.get("from"), categories=categories)

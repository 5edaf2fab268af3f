"""Survival estimators behind scikit-learn's conventions: clone, pipelines, grid search and cross-validation.

One class stands for every registered estimator of survival; it takes a table of numbers and categories with
missing values, without protocol or dictionary. Serving does not import this file, which needs scikit-learn.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from features.censoring import Outcome
from features.dictionary import FloatArray
from features.endpoints import SURVIVAL
from features.errors import InvalidInput, Problem
from models.estimators.concordance import concordance
from models.estimators.interface import Model
from models.estimators.registry import DEFAULT, estimator_class

FEWEST_IN_CATEGORY = 5
STRATUM = "survival"
TIMES = frozenset({"date", "datetime", "datetime64", "timedelta", "timedelta64", "period", "time"})


@dataclass(frozen=True)
class TableColumn:
    """One column of the matrix: a number, or whether a category holds."""

    name: str
    category: str | None = None

    def read(self, frame: pd.DataFrame) -> FloatArray:
        """Return the column's values, shape (patients,), NaN where missing."""
        if self.category is None:
            return np.asarray(frame[self.name], dtype=np.float64)
        missing = frame[self.name].isna().to_numpy()
        return np.where(missing, np.nan, (frame[self.name].astype(str) == self.category).to_numpy(np.float64))


class SurvivalEstimator(BaseEstimator):  # type: ignore[misc]
    """Survival from a table, by any registered estimator.

    ``X`` is a DataFrame or an array with one row a patient. Numeric columns may have missing values; a text,
    category or flag column becomes one 0/1 column a category, those of fewer than five patients together
    being the reference. A category that training did not see is none of the known ones. ``y`` is the outcome
    as scikit-survival takes it: a structured array of event and time, or two columns in that order. Times
    have any unit, the same throughout.

    Parameters: ``estimator``, a registered type (``cross_fitted``, ``cox``, ``xgboost_aft`` or one that a
    package adds); ``folds`` and ``repeats`` of its cross-fitting; ``random_state``, a whole number;
    ``options``, further keywords of the estimator's class.

    Fitted: ``model_``, ``event_times_`` (up to 50 times among those of the events), ``n_features_in_``.
    """

    def __init__(
        self,
        estimator: str = DEFAULT,
        *,
        folds: int = 5,
        repeats: int = 1,
        random_state: int = 0,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.estimator = estimator
        self.folds = folds
        self.repeats = repeats
        self.random_state = random_state
        self.options = options

    def fit(self, X: pd.DataFrame | npt.ArrayLike, y: Any) -> Self:
        """Fit on patients and their outcome.

        Raises:
            InvalidInput: naming every fault of the table and the outcome.
            NotFittable: when there are fewer events than folds.
            TypeError, ValueError: scikit-learn's own, for what is no table of two patients or more.

        """
        table = self._table(X, reset=True)
        problems = _faults(table)
        try:
            outcome = read_outcome(y, rows=len(table))
        except InvalidInput as error:
            problems += error.problems
        if problems:
            raise InvalidInput("survival data", problems)
        self.columns_, self.names_ = table_columns(table), list(table.columns)
        if not self.columns_:
            raise InvalidInput(
                "survival data", [Problem("columns", "none varies", "give predictors that do")]
            )
        fitted = estimator_class(self.estimator, SURVIVAL)(
            outcomes=(STRATUM,),
            folds=self.folds,
            repeats=self.repeats,
            seed=self.random_state,
            **(self.options or {}),
        ).cross_fit(self._matrix(table), np.zeros(len(table), dtype=np.int64), outcome)
        self.model_: Model = fitted.model
        times = np.quantile(outcome.duration[outcome.event], np.linspace(0.02, 0.8, 50))
        self.event_times_ = np.unique(times)
        return self

    def predict_survival_function(
        self, X: pd.DataFrame | npt.ArrayLike, times: npt.ArrayLike | None = None
    ) -> FloatArray:
        """Return survival, shape (patients, times), in [0, 1] and never rising.

        Times are ``event_times_`` unless given.

        Raises:
            InvalidInput: naming every fault of the table.
            TypeError, ValueError: scikit-learn's own, for other columns than those fitted.

        """
        check_is_fitted(self)
        table = self._table(X, reset=False).set_axis(self.names_, axis=1)
        if problems := _faults(table):
            raise InvalidInput("table", problems)
        at = self.event_times_ if times is None else np.asarray(times, dtype=np.float64)
        return self.model_.predict(self._matrix(table), np.zeros(len(table), dtype=np.int64), at)[:, 0]

    def predict(self, X: pd.DataFrame | npt.ArrayLike) -> FloatArray:
        """Return a risk score, (patients,): minus the mean survival time up to the last event time."""
        survival = self.predict_survival_function(X)
        curve = np.column_stack([np.ones(len(survival)), survival])
        risk: FloatArray = -np.trapezoid(curve, np.concatenate([[0.0], self.event_times_]), axis=1)
        return risk

    def score(self, X: pd.DataFrame | npt.ArrayLike, y: Any) -> float:
        """Return Harrell's concordance of the risk score with the outcome: 1 is perfect, 0.5 is chance."""
        risk = self.predict(X)
        return concordance(risk, read_outcome(y, rows=len(risk)))

    def __sklearn_tags__(self) -> Tags:
        """Declare that missing values and categories are taken, and that an outcome is needed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        tags.target_tags.required = True
        return tags

    def _table(self, X: pd.DataFrame | npt.ArrayLike, *, reset: bool) -> pd.DataFrame:
        """Return X as a table whose columns have the types of their values; ``reset`` as in scikit-learn."""
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X.infer_objects()
        fewest = 2 if reset else 1
        array = check_array(X, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=fewest)
        validate_data(self, array, reset=reset, skip_check_array=True)
        names = [f"x{at}" for at in range(array.shape[1])]
        numbers = array.dtype.kind in "biuf"
        return pd.DataFrame(array.astype(np.float64) if numbers else array, columns=names).infer_objects()

    def _matrix(self, table: pd.DataFrame) -> FloatArray:
        return np.column_stack([column.read(table) for column in self.columns_])


def default_model(*, seed: int = 0) -> SurvivalEstimator:
    """Return the default survival estimator, unfitted."""
    return SurvivalEstimator(random_state=seed)


def table_columns(X: pd.DataFrame) -> tuple[TableColumn, ...]:
    """Return the matrix's columns; one that never varies is left out."""
    columns: list[TableColumn] = []
    for name in X.columns:
        if pd.api.types.is_numeric_dtype(X[name]) and not pd.api.types.is_bool_dtype(X[name]):
            columns += [TableColumn(name)] if X[name].nunique() > 1 else []
            continue
        counts = X[name].dropna().astype(str).value_counts()
        frequent = sorted(str(c) for c in counts.index if counts[c] >= FEWEST_IN_CATEGORY)
        most = str(counts.index[0]) if len(counts) else ""
        shown = [c for c in frequent if c != most] if len(frequent) == len(counts) else frequent
        columns += [TableColumn(name, category) for category in shown if counts[category] < len(X)]
    return tuple(columns)


def read_outcome(y: Any, *, rows: int) -> Outcome:
    """Return an outcome from a structured array of event and time, or two columns in that order.

    Raises:
        InvalidInput: naming everything wrong with it.

    """
    event, duration = _two_columns(y)
    problems = []
    if len(event) != rows:
        problems.append(Problem("y", f"has {len(event)} rows where X has {rows}", "give one a patient"))
    if not np.isfinite(duration).all() or (duration <= 0).any():
        problems.append(Problem("time", "has values that are not above zero", "exclude those patients"))
    if not np.isin(event, (0, 1)).all():
        problems.append(Problem("event", "has values other than 0 and 1", "1 where the event happened"))
    elif not event.astype(bool).any():
        problems.append(Problem("event", "never happens", "nothing can be learned without events"))
    if problems:
        raise InvalidInput("survival data", problems)
    return Outcome(duration, event.astype(bool))


def _two_columns(y: Any) -> tuple[FloatArray, FloatArray]:
    """Return event and time as numbers."""
    remedy = "give a structured array of event and time, or two columns in that order"
    named = getattr(getattr(y, "dtype", None), "names", None)
    columns = [y[name] for name in named] if named else np.atleast_1d(y).T
    if y is None or len(columns) != 2 or np.ndim(columns[0]) != 1:
        raise InvalidInput("survival data", [Problem("y", "is not event and time", remedy)])
    try:
        event, duration = (np.asarray(column, dtype=np.float64) for column in columns)
    except (TypeError, ValueError) as error:
        raise InvalidInput("survival data", [Problem("y", "is not numeric", remedy)]) from error
    return event, duration


def _faults(table: pd.DataFrame) -> list[Problem]:
    """Return what is wrong with the columns: dates, spans and odd numbers are no predictors."""
    return [problem for name in table.columns if (problem := _fault(str(name), table[name]))]


def _fault(name: str, column: pd.Series) -> Problem | None:
    values = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    kind = pd.api.types.infer_dtype(values)
    if kind in TIMES:
        return Problem(name, "holds dates or spans of time", "give months or years as numbers")
    if kind in ("complex", "decimal"):
        return Problem(name, f"holds {kind} numbers", "give floating-point numbers")
    if kind == "floating" and np.isinf(column.to_numpy(dtype=np.float64)).any():
        return Problem(name, "has infinite values", "make them missing")
    return None

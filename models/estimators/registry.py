"""The register of estimators: this project's own, and those that installed packages add.

A package adds an estimator by an entry point in the group ``salvage.estimators``, whose name is the
estimator's ``type`` and whose object is the class. A protocol then names it, and a bundle made with it
names it again when it is read. docs/models.md shows a whole one.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from features.errors import InvalidInput, Problem

GROUP = "salvage.estimators"
OWN: Mapping[str, tuple[str, ...]] = {
    "cross_fitted": (
        "models.estimators.cross_fitted:CrossFitted",
        "models.estimators.competing:CrossFittedCompeting",
        "models.estimators.response:CrossFittedResponse",
    ),
    "cox": ("models.estimators.cross_fitted:CrossFittedCox",),
    "xgboost_aft": ("models.estimators.xgboost_aft:XGBoostAFT",),
}
DEFAULT = "cross_fitted"


def estimator_class(type_: str, kind: str) -> Any:
    """Return the class registered under a type that fits a kind of endpoint.

    Raises:
        InvalidInput: when there is none; what there is is named.

    """
    for name, load in _registered():
        if name == type_ and kind in (found := load()).kinds:
            return found
    known = sorted({name for name, load in _registered() if kind in load().kinds})
    problem = f"{type_} is no estimator of the kind {kind} here"
    remedy = f"install the package that adds it, or use {', '.join(known)}"
    raise InvalidInput("estimator", [Problem("estimators", problem, remedy)])


def _registered() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each registered name with what loads its class; this project's own come first."""
    for name, places in OWN.items():
        for place in places:
            yield name, partial(_load, place)
    for point in entry_points(group=GROUP):
        yield point.name, point.load


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)

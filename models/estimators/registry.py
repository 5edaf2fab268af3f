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
DECLARED = ("type", "kinds", "description", "unlearned", "exact", "read", "cross_fit")


def estimator_class(type_: str, kind: str) -> Any:
    """Return the class registered under a type that fits a kind of endpoint.

    Raises:
        InvalidInput: when there is none, what there is being named; when its package cannot be imported; when
            the class does not declare all that an estimator does.

    """
    for name, load in _registered():
        if name == type_ and kind in getattr(cls := _loaded(name, load), "kinds", (kind,)):
            return _require_declared(name, cls)
    known = sorted({name for name, load in _registered() if kind in _kinds(load)})
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


def _loaded(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (ImportError, AttributeError) as error:
        problem = Problem("estimators", f"{name} cannot be imported ({error})", "mend or remove its package")
        raise InvalidInput("estimator", [problem]) from error


def _kinds(load: Callable[[], Any]) -> frozenset[str]:
    """Return the kinds that a registered class fits; none where its package is broken."""
    try:
        kinds: frozenset[str] = load().kinds
    except (ImportError, AttributeError):
        return frozenset()
    return kinds


def _require_declared(name: str, cls: Any) -> Any:
    missing = ", ".join(part for part in DECLARED if not hasattr(cls, part))
    if missing:
        problem = Problem(
            "estimators", f"{name} does not declare {missing}", "see models/estimators/interface.py"
        )
        raise InvalidInput("estimator", [problem])
    return cls


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)

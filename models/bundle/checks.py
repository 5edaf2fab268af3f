"""Do the parts of an endpoint fit together? Asked when a bundle is read, before anything is answered."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from models.answer.fitted_endpoint import FittedEndpoint
from models.estimators.competing import CompetingModel
from models.estimators.hazard import HazardModel
from models.estimators.interface import EndpointModel
from models.estimators.response import ResponseModel
from models.trees.ensemble import Trees
from models.uncertainty.conformal import SurvivalBounds

Shape = tuple[int, ...]


def require_sound(endpoint: FittedEndpoint, *, columns: int, diseases: Sequence[str]) -> None:
    """Check that an endpoint's parts are of one encoder's columns and one protocol's diseases, and finite.

    Raises:
        ValueError: naming what is not as it must be.

    """
    strata, outcomes = len(diseases), len(endpoint.model.outcomes)
    _require_model(endpoint.model, columns=columns, strata=strata)
    _require_supported(endpoint.supported, diseases if endpoint.endpoint.timed else ())
    own, intervals = endpoint.background, endpoint.intervals
    _require_shape("background", own.weights, (len(own),))
    _require_shape("background", own.X, (len(own), columns), finite=False)
    if own.strata.dtype.kind != "i" or own.strata.shape != (len(own),) or not len(own):
        _refuse("background")
    if own.strata.min() < 0 or own.strata.max() >= strata or np.isinf(own.X).any():
        _refuse("background")
    if endpoint.bounds is not None:
        _require_bounds(endpoint.bounds, diseases)
    for array in (intervals.means, intervals.scales):
        _require_shape("intervals", array, (columns,))
    for array in (intervals.errors, np.broadcast_to(intervals.inflation, (outcomes,))):
        _require_shape("intervals", array, (outcomes,))


def _require_bounds(bounds: SurvivalBounds, diseases: Sequence[str]) -> None:
    chances = np.array(bounds.chances)
    if set(bounds.diseases) != set(diseases) or chances.shape != (len(bounds.diseases),):
        _refuse("bounds")
    if not (0.0 < bounds.level < 1.0 and (chances >= 0.0).all() and (chances <= 1.0).all()):
        _refuse("bounds")


def _require_model(model: EndpointModel, *, columns: int, strata: int) -> None:
    if isinstance(model, CompetingModel):
        for hazard in model.hazards:
            _require_model(hazard, columns=columns, strata=strata)
    elif isinstance(model, HazardModel):
        _require_hazard(model, columns=columns, strata=strata)
    elif isinstance(model, ResponseModel):
        _require_response(model, columns=columns, strata=strata)


def _require_hazard(model: HazardModel, *, columns: int, strata: int) -> None:
    count = len(model.edges)
    shapes = {"edges": (count,), "base": (strata, count), "means": (strata, columns)}
    for name, shape in (shapes | {"coefficients": (strata, columns)}).items():
        _require_shape(name, getattr(model, name), shape)
    if not count or model.edges[0] <= 0.0 or (np.diff(model.edges) <= 0.0).any():
        _refuse("edges")
    _require_trees(model.trees, columns, intervals=count)


def _require_response(model: ResponseModel, *, columns: int, strata: int) -> None:
    count = len(model.outcomes)
    shapes: dict[str, Shape] = {"base": (strata, count), "means": (strata, columns)}
    shapes |= {"coefficients": (strata, count, columns), "stretch": (count,), "shift": (count,)}
    for name, shape in shapes.items():
        _require_shape(name, getattr(model, name), shape)
    if model.trees is not None:
        _require_trees(model.trees, columns, intervals=count)


def _require_trees(trees: Trees, columns: int, *, intervals: int) -> None:
    if trees.columns != columns or trees.intervals != intervals:
        _refuse("trees")


def _require_supported(supported: Mapping[str, Any], diseases: Sequence[str]) -> None:
    if set(supported) != set(diseases) or not all(isfinite(months) for months in supported.values()):
        _refuse("supported")


def _require_shape(name: str, array: npt.NDArray[Any], shape: Shape, *, finite: bool = True) -> None:
    if array.shape != shape or array.dtype.kind not in "if" or (finite and not np.isfinite(array).all()):
        _refuse(name)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not as it must be")

"""The study protocol: scope, index event, predictors, endpoints and horizons of one model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from features.dictionary import Dictionary, load_dictionary
from features.endpoints import ENDPOINTS
from features.errors import InvalidProtocol, NotFound, Problem
from features.index_date import late_predictors, time_zero

KEYS = (
    "name", "title", "intended_use", "out_of_scope", "index_event", "diseases", "predictors",
    "endpoints", "horizons", "explained_horizon", "cohorts",
)  # fmt: skip
LANDMARK, ESTIMATORS = "landmark", "estimators"


@dataclass(frozen=True)
class StudyProtocol:
    """What is predicted, for whom, from when, and from which knowledge. Times are months.

    The first endpoint is the leading one: it decides how patients are split and which tests are worth doing.
    ``landmark`` starts the clock that many months after the index event; None starts it at the event.
    ``estimators`` names, by endpoint, a registered estimator other than the default.
    """

    name: str
    title: str
    intended_use: str
    out_of_scope: tuple[str, ...]
    index_event: str
    diseases: tuple[str, ...]
    predictors: tuple[str, ...]
    endpoints: tuple[str, ...]
    horizons: tuple[float, ...]
    explained_horizon: float
    cohorts: tuple[str, ...]
    landmark: float | None = None
    estimators: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def time_zero(self) -> str:
        """Say in words where the clock starts, as a cohort that fits the protocol states it."""
        return time_zero(self.index_event, self.landmark)

    @property
    def model_name(self) -> str:
        """Return the name under which the protocol's models are registered."""
        return f"salvage-{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """Return the protocol as plain JSON values, as a bundle stores it, optional keys only where set."""
        keys = KEYS if self.landmark is None else (*KEYS, LANDMARK)
        stored = {key: getattr(self, key) for key in keys}
        stored |= {ESTIMATORS: dict(self.estimators)} if self.estimators else {}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in stored.items()}

    @classmethod
    def from_dict(cls, declared: Mapping[str, Any], *, dictionary: Dictionary) -> "StudyProtocol":
        """Read a declared protocol.

        Raises:
            InvalidProtocol: naming every missing key, unknown field, late predictor and impossible time.

        """
        problems = _problems(declared, dictionary)
        if problems:
            raise InvalidProtocol(f"protocol {declared.get('name', '?')}", problems)
        lists = {key: tuple(value) for key, value in declared.items() if isinstance(value, list)}
        months: dict[str, Any] = {"horizons": tuple(float(h) for h in declared["horizons"])}
        months |= {k: float(declared[k]) for k in ("explained_horizon", LANDMARK) if k in declared}
        return cls(**{**declared, **lists, **months})


def protocol_names() -> tuple[str, ...]:
    """Return the names of the protocols that come with the package."""
    files = resources.files("features").joinpath("protocols").iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def load_protocol(name: str) -> StudyProtocol:
    """Return a ready protocol by name, or one from a YAML file by path.

    Raises:
        NotFound: when there is neither.
        InvalidProtocol: when it contradicts the dictionary.

    """
    if name in protocol_names():
        text = resources.files("features").joinpath("protocols", f"{name}.yaml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise NotFound(f"no protocol {name}; ready ones: {', '.join(protocol_names())}; or give a YAML file")
    return StudyProtocol.from_dict(_yaml(name, text), dictionary=load_dictionary())


def _yaml(name: str, text: str) -> Mapping[str, Any]:
    try:
        declared = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidProtocol(name, [Problem("file", "is not YAML", str(error).splitlines()[0])]) from error
    if not isinstance(declared, dict):
        raise InvalidProtocol(name, [Problem("file", "is not a mapping", "start from a ready protocol")])
    return declared


def _problems(declared: Mapping[str, Any], dictionary: Dictionary) -> list[Problem]:
    if problems := _form_problems(declared):
        return problems
    problems = _endpoint_problems(declared["endpoints"])
    problems += _predictor_problems(declared["predictors"], declared["index_event"], dictionary)
    diseases = dictionary["disease"].category_names
    problems += [
        Problem("diseases", f"names the unknown disease {name}", "use " + ", ".join(diseases))
        for name in declared["diseases"]
        if name not in diseases
    ]
    problems += _horizon_problems(declared["horizons"], declared["explained_horizon"])
    problems += _landmark_problems(declared) if LANDMARK in declared else []
    return problems + _estimator_problems(declared.get(ESTIMATORS, {}), declared["endpoints"])


def _form_problems(declared: Mapping[str, Any]) -> list[Problem]:
    allowed = (*KEYS, LANDMARK, ESTIMATORS)
    problems = [Problem(key, "is missing", "declare it") for key in KEYS if key not in declared]
    problems += [
        Problem(key, "is not a protocol key", "use " + ", ".join(allowed))
        for key in declared
        if key not in allowed
    ]
    return problems + [
        Problem(key, "is not a list", "give a list")
        for key in ("out_of_scope", "diseases", "predictors", "endpoints", "horizons", "cohorts")
        if not isinstance(declared.get(key, []), list)
    ]


def _predictor_problems(predictors: list[Any], index_event: str, dictionary: Dictionary) -> list[Problem]:
    problems = [
        Problem(name, "stands twice among the predictors", "name it once")
        for name in dict.fromkeys(predictors)
        if predictors.count(name) > 1
    ]
    problems += [
        Problem(name, "is not in the dictionary", "declare it in dictionary.yaml first")
        for name in predictors
        if name not in dictionary
    ]
    known = dictionary.slice(name for name in predictors if name in dictionary)
    return problems + late_predictors(known, index_event=index_event)


def _landmark_problems(declared: Mapping[str, Any]) -> list[Problem]:
    months = declared[LANDMARK]
    number = isinstance(months, int | float) and not isinstance(months, bool)
    if not number or not 0 < months < float("inf"):
        return [Problem(LANDMARK, "is not a number of months above 0", "give one, or leave the key out")]
    undated = [name for name in declared["endpoints"] if name in ENDPOINTS and not ENDPOINTS[name].timed]
    remedy = "leave it out, or the landmark: nothing tells whether it came before or after"
    return [Problem("endpoints", f"name {name}, which has no date", remedy) for name in undated]


def _estimator_problems(estimators: object, endpoints: list[Any]) -> list[Problem]:
    """Check the form; which estimators there are is known where they are fitted."""
    if not isinstance(estimators, dict) or not all(isinstance(e, str) for e in estimators.values()):
        return [
            Problem(ESTIMATORS, "is not a mapping of endpoints to estimators", "write endpoint: estimator")
        ]
    return [
        Problem(ESTIMATORS, f"names {name}, no endpoint of the protocol", "use " + ", ".join(endpoints))
        for name in estimators
        if name not in endpoints
    ]


def _endpoint_problems(endpoints: list[Any]) -> list[Problem]:
    known = "use " + ", ".join(ENDPOINTS)
    if not endpoints or len(set(map(str, endpoints))) < len(endpoints):
        return [Problem("endpoints", "are none, or one stands twice", known)]
    return [
        Problem("endpoints", f"name the unknown endpoint {name}", known)
        for name in endpoints
        if name not in ENDPOINTS
    ]


def _horizon_problems(horizons: list[Any], explained: object) -> list[Problem]:
    numbers = all(isinstance(h, int | float) and not isinstance(h, bool) and h > 0 for h in horizons)
    if not horizons or not numbers or sorted(set(horizons)) != horizons:
        return [Problem("horizons", "are not rising positive months", "list them as 12, 24, ...")]
    if explained not in horizons:
        return [Problem("explained_horizon", "is not one of the horizons", "choose one of them")]
    return []

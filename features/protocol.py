"""The study protocol: scope, index event, predictors, endpoints and horizons of one model."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from features.dictionary import Dictionary, load_dictionary
from features.endpoints import ENDPOINTS
from features.errors import InvalidProtocol, NotFound, Problem
from features.index_date import late_predictors

KEYS = (
    "name", "title", "intended_use", "out_of_scope", "index_event", "diseases", "predictors",
    "endpoints", "horizons", "explained_horizon", "cohorts",
)  # fmt: skip


@dataclass(frozen=True)
class StudyProtocol:
    """What is predicted, for whom, from when, and from which knowledge. Times are months.

    The first endpoint is the leading one: it decides how patients are split and which tests are worth doing.
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

    @property
    def model_name(self) -> str:
        """Return the registered model's name."""
        return f"salvage-{self.name}"

    def as_dict(self) -> dict[str, Any]:
        """Return the protocol as plain JSON values, as a bundle stores it."""
        stored = {key: getattr(self, key) for key in KEYS}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in stored.items()}

    @classmethod
    def from_dict(cls, declared: Mapping[str, Any], *, dictionary: Dictionary) -> "StudyProtocol":
        """Read a declared protocol.

        Raises:
            InvalidProtocol: naming every missing key, unknown field and late predictor.

        """
        problems = _problems(declared, dictionary)
        if problems:
            raise InvalidProtocol(f"protocol {declared.get('name', '?')}", problems)
        values = {key: declared[key] for key in KEYS}
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        horizons = tuple(float(h) for h in values["horizons"])
        return cls(
            **(
                values
                | lists
                | {"horizons": horizons, "explained_horizon": float(values["explained_horizon"])}
            )
        )


def protocol_names() -> tuple[str, ...]:
    """Return the ready protocols' names."""
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
    problems = [Problem(key, "is missing", "declare it") for key in KEYS if key not in declared]
    problems += [
        Problem(key, "is not a protocol key", "use " + ", ".join(KEYS)) for key in declared if key not in KEYS
    ]
    problems += [
        Problem(key, "is not a list", "give a list")
        for key in ("out_of_scope", "diseases", "predictors", "endpoints", "horizons", "cohorts")
        if not isinstance(declared.get(key, []), list)
    ]
    if problems:
        return problems
    predictors = declared["predictors"]
    problems += [
        Problem(name, "stands twice among the predictors", "name it once")
        for name in dict.fromkeys(predictors)
        if predictors.count(name) > 1
    ]
    problems += _endpoint_problems(declared["endpoints"])
    problems += [
        Problem(name, "is not in the dictionary", "declare it in dictionary.yaml first")
        for name in declared["predictors"]
        if name not in dictionary
    ]
    known = [name for name in declared["predictors"] if name in dictionary]
    problems += late_predictors(dictionary.slice(known), index_event=declared["index_event"])
    problems += [
        Problem(
            "diseases",
            f"names the unknown disease {name}",
            "use " + ", ".join(dictionary["disease"].category_names),
        )
        for name in declared["diseases"]
        if name not in dictionary["disease"].category_names
    ]
    return problems + _horizon_problems(declared["horizons"], declared["explained_horizon"])


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

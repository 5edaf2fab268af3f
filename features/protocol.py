"""The study protocol: scope, index event, predictors, endpoint and horizons of one model."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from features.dictionary import Dictionary, load_dictionary
from features.errors import InvalidProtocol, NotFound, Problem
from features.index_date import late_predictors

KEYS = (
    "name", "title", "intended_use", "out_of_scope", "index_event", "diseases", "predictors",
    "endpoint", "horizons", "explained_horizon", "cohorts",
)  # fmt: skip


@dataclass(frozen=True)
class StudyProtocol:
    """What is predicted, for whom, from when, and from which knowledge. Times are months."""

    name: str
    title: str
    intended_use: str
    out_of_scope: tuple[str, ...]
    index_event: str
    diseases: tuple[str, ...]
    predictors: tuple[str, ...]
    endpoint: str
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
    return StudyProtocol.from_dict(yaml.safe_load(text), dictionary=load_dictionary())


def _problems(declared: Mapping[str, Any], dictionary: Dictionary) -> list[Problem]:
    problems = [Problem(key, "is missing", "declare it") for key in KEYS if key not in declared]
    problems += [
        Problem(key, "is not a protocol key", "use " + ", ".join(KEYS)) for key in declared if key not in KEYS
    ]
    if problems:
        return problems
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
    horizons = declared["horizons"]
    if not horizons or sorted(set(horizons)) != list(horizons) or min(horizons) <= 0:
        problems.append(Problem("horizons", "are not rising positive months", "list them as 12, 24, ..."))
    elif declared["explained_horizon"] not in horizons:
        problems.append(Problem("explained_horizon", "is not one of the horizons", "choose one of them"))
    return problems

"""The model card: what a model is, from whom it learned, how well it did, where it must not be used."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ModelCard:
    """The facts a tumour board, a security officer and an auditor ask for, as plain JSON values."""

    name: str
    title: str
    evidence: str
    intended_use: str
    out_of_scope: tuple[str, ...]
    index_event: str
    endpoints: tuple[str, ...]
    horizons: tuple[float, ...]
    method: str
    cohorts: tuple[Mapping[str, Any], ...]
    patients: int
    events: Mapping[str, int]
    missing: Mapping[str, float]
    sample_size: Mapping[str, Any]
    performance: Mapping[str, Any]
    limitations: tuple[str, ...]
    caution: str

    def as_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "ModelCard":
        lists = ("out_of_scope", "endpoints", "horizons", "cohorts", "limitations")
        values: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in stored.items()}
        return cls(**values)

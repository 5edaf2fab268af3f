"""The file that lists the trusted CDS clients: YAML or JSON, one entry a client.

- issuer: https://ehr.example.org          how its tokens name it
  jku: https://ehr.example.org/jwks.json   where its keys are; or
  jwks: ehr.jwks.json                      a file of its keys, beside this one
  algorithms: [ES384, RS384]               optional
  tenants: [oncology]                      optional
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from features.errors import InvalidInput, Problem
from serving.access.addresses import is_address
from serving.access.cds_clients import CdsClient
from serving.access.key_set import fitting

SETTING = "SALVAGE_CDS_CLIENTS"


class ListedClient(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field(min_length=1, max_length=200)
    jku: str | None = None
    jwks: str | None = None
    algorithms: tuple[Literal["ES256", "ES384", "RS256", "RS384", "EdDSA"], ...] = Field(
        ("ES384", "RS384"), min_length=1
    )
    tenants: tuple[str, ...] = ()


def read_clients(path: Path) -> tuple[CdsClient, ...]:
    """Read the file.

    Raises:
        InvalidInput: naming everything that is wrong in it.

    """
    try:
        document = yaml.safe_load(path.read_bytes())
        entries = TypeAdapter(tuple[ListedClient, ...]).validate_python(document)
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        raise _wrong([Problem(SETTING, "cannot be read", "name a YAML or JSON file")]) from None
    except ValidationError as error:
        raise _wrong([_problem(fault) for fault in error.errors(include_url=False)]) from None
    keys = [_keys(path.parent / entry.jwks) if entry.jwks else None for entry in entries]
    problems = [p for at, entry in enumerate(entries) for p in _problems(at, entry, keys[at])]
    if len({entry.issuer for entry in entries}) < len(entries):
        problems.append(Problem(SETTING, "lists an issuer twice", "list each once"))
    if problems:
        raise _wrong(problems)
    return tuple(
        CdsClient(e.issuer, e.jku, keys[at], algorithms=e.algorithms, tenants=e.tenants)
        for at, e in enumerate(entries)
    )


def _problems(at: int, entry: ListedClient, keys: Mapping[str, Any] | None) -> list[Problem]:
    """Return what is wrong between the members of an entry, each of which is valid by itself."""
    where = f"{SETTING}[{at}]"
    if (entry.jku is None) == (entry.jwks is None):
        return [Problem(where, "has not one place of its keys", "give either jku or jwks")]
    if entry.jku is not None and not is_address(entry.jku):
        return [Problem(f"{where}.jku", "is no address", "expected https://HOST[:PORT]/PATH")]
    if entry.jwks is not None and not fitting(keys, entry.algorithms):
        remedy = f"name a file with a JSON Web Key Set for {' or '.join(entry.algorithms)}"
        return [Problem(f"{where}.jwks", "holds no key that can be used", remedy)]
    return []


def _keys(path: Path) -> Mapping[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _problem(fault: Any) -> Problem:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    return Problem(f"{SETTING}{where}", fault["msg"], "correct the file")


def _wrong(problems: list[Problem]) -> InvalidInput:
    return InvalidInput("CDS clients", problems)

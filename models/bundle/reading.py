"""Reading a bundle: every file verified, decoded and checked against the others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from features.dictionary import Dictionary
from features.encoder import Encoder
from features.errors import BundleRefused, InvalidInput
from features.protocol import StudyProtocol
from models.answer.fitted_endpoint import FittedEndpoint
from models.bundle.bundle import ModelBundle
from models.bundle.card import ModelCard
from models.bundle.manifest import verified_files
from models.patient.applicability import Applicability
from models.patient.completion import Completion
from models.patient.plans import Plans
from models.patient.typicality import Likeness

MALFORMED = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError, RecursionError,
    InvalidInput,
)  # fmt: skip


def read_bundle(folder: Path, *, expected_hash: str | None = None) -> ModelBundle:
    """Read a bundle, verifying every file against the manifest first.

    Raises:
        BundleRefused: naming each file that is missing, added or changed.

    """
    files = verified_files(folder, expected_hash)
    try:
        return _decode(files)
    except MALFORMED as error:
        raise BundleRefused(f"{folder.name}: its files do not fit together ({error}); train again") from error


def _decode(files: Mapping[str, bytes]) -> ModelBundle:
    documents = {
        name: json.loads(content, parse_constant=_refuse_constant)
        for name, content in files.items()
        if name.endswith(".json")
    }
    dictionary = Dictionary.from_dict(documents["dictionary.json"])
    encoder = Encoder.from_dict(documents["encoder.json"], dictionary=dictionary)
    provenance = documents["provenance.json"]
    protocol = StudyProtocol.from_dict(documents["protocol.json"], dictionary=dictionary)
    endpoints = tuple(
        FittedEndpoint.from_files(
            name,
            files,
            supported=provenance["supported"][name],
            horizons=protocol.horizons,
            explained_horizon=protocol.explained_horizon,
            owners=encoder.owners(),
            dictionary=dictionary,
        )
        for name in protocol.endpoints
    )
    bundle = ModelBundle(
        protocol=protocol,
        dictionary=dictionary,
        encoder=encoder,
        endpoints=endpoints,
        applicability=Applicability.from_dict(documents["applicability.json"]),
        completion=Completion.from_dict(documents["completion.json"], encoder=encoder),
        likeness=Likeness.from_dict(documents["likeness.json"]),
        plans=Plans.from_dict(documents["plans.json"]),
        evidence=provenance["evidence"],
        cohort_fingerprint=provenance["cohort_fingerprint"],
        card=ModelCard.from_dict(documents["card.json"]),
    )
    bundle.check()
    return bundle


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")

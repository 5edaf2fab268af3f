"""The model bundle: everything needed to answer, in files without pickle under a SHA-256 manifest.

manifest.json        the other files' SHA-256; its own SHA-256 is the bundle's hash
protocol.json        scope, index event, predictors, endpoints, horizons
dictionary.json      the predictors' declarations, as training read them
encoder.json         vocabulary and columns
provenance.json      supported follow-up, evidence, the cohort's fingerprint
applicability.json   ranges and categories seen in training
information.json     plausible values of what a test can find out
likeness.json        how usual combinations of values are
plans.json           which plans the training patients had
card.json            the model card

and for each endpoint, under its name: endpoint.json, its declaration and the estimator that reads its model;
the model's own files (an additive model's are model.json, trees.npz and each booster in xgboost's own JSON);
intervals.json and, of survival, bounds.json; and background.npz, the patients that explanations start from,
with their weights.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np

from features.cohort import Cohort, read_patient
from features.dictionary import Dictionary, FloatArray
from features.encoder import Encoder
from features.errors import BundleRefused, InvalidInput, InvalidRequest, NotExplained, Problem
from features.fingerprint import canonical_json, sha256
from features.protocol import StudyProtocol
from models.answer.endpoint_answer import EndpointAnswer
from models.answer.fitted_endpoint import FittedEndpoint
from models.answer.patient_answer import PatientAnswer
from models.bundle.card import ModelCard
from models.estimators.curves import IntArray
from models.estimators.registry import DEFAULT
from models.patient.applicability import Applicability
from models.patient.next_tests import Information
from models.patient.plans import Plans
from models.patient.typicality import Likeness
from models.prediction import Caution, Prediction

FORMAT = 5
LARGEST_FILE = 1 << 30
MALFORMED = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError, RecursionError,
    InvalidInput,
)  # fmt: skip
MANIFEST = "manifest.json"
PROTOCOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NOTICE = (
    "Describes patients of the training cohorts who were like this one. It is an association, not the effect "
    "of any treatment, and informs a clinician's decision without making it."
)
UNMEASURED = " How often intervals hold the true probability was not measured for this model of: {}."


@dataclass(frozen=True)
class ModelBundle:
    """Fitted models of a protocol's endpoints, with all they need to answer.

    ``endpoints`` are in the protocol's order; the first one leads.
    """

    protocol: StudyProtocol
    dictionary: Dictionary
    encoder: Encoder
    endpoints: tuple[FittedEndpoint, ...]
    applicability: Applicability
    information: Information
    likeness: Likeness
    plans: Plans
    evidence: str
    cohort_fingerprint: str
    card: ModelCard

    def validate(self, patient: Mapping[str, object], *, horizon: float | None = None) -> Cohort:
        """Validate one patient by the dictionary training used, and the horizon to be explained.

        Raises:
            InvalidRequest: naming every field at fault; a disease outside the protocol's scope is refused.

        """
        return Cohort.of_one(self._read(patient, horizon), dictionary=self.dictionary)

    def _read(self, patient: Mapping[str, object], horizon: float | None) -> dict[str, float]:
        problems: list[Problem] = []
        try:
            values = read_patient(patient, dictionary=self.dictionary)
        except InvalidRequest as error:
            problems += error.problems
        disease = patient.get("disease")
        known = isinstance(disease, str) and (disease, horizon) in self._scope
        if not known and not any(problem.field == "disease" for problem in problems):
            problems += self._scope_problems(disease, horizon)
        if problems:
            raise InvalidRequest("patient", problems)
        return values

    @cached_property
    def _scope(self) -> frozenset[tuple[str, float | None]]:
        """Return the diseases that are answered for, each with the horizons that can be explained."""
        answered = [d for d in self.protocol.diseases if any(e.answers(d) for e in self.endpoints)]
        return frozenset((d, horizon) for d in answered for horizon in (None, *self.explainable(d)))

    @cached_property
    def _frames(self) -> dict[tuple[str, float | None], PatientAnswer]:
        """Return the frames made so far."""
        return {}

    def _scope_problems(self, disease: object, horizon: float | None) -> list[Problem]:
        diseases = "expected one of " + ", ".join(self.protocol.diseases)
        if disease is None:
            return [Problem("disease", "is missing", diseases)]
        if disease not in self.protocol.diseases:
            return [Problem("disease", "is outside this model's scope", diseases)]
        if not any(endpoint.answers(str(disease)) for endpoint in self.endpoints):
            return [Problem("disease", "was not followed long enough to answer", "train on longer follow-up")]
        explainable = self.explainable(str(disease))
        if horizon is None or horizon in explainable:
            return []
        months = ", ".join(f"{h:g}" for h in explainable)
        expected = f"expected one of {months} months" if months else "leave it out: no answer here has a time"
        return [Problem("horizon", "cannot be explained in this disease", expected)]

    def explainable(self, disease: str) -> tuple[float, ...]:
        """Return the protocol's horizons that this disease's follow-up supports in any endpoint."""
        return tuple(
            h for h in self.protocol.horizons if any(h in e.explainable(disease) for e in self.endpoints)
        )

    def predict(self, patient: Cohort, *, horizon: float | None = None) -> Prediction:
        """Answer for a cohort of one, explained at a horizon; :meth:`validate` has passed both."""
        values = {name: float(column[0]) for name, column in patient.values.items()}
        return self._frame(str(patient.text("disease")[0]), horizon).predictions([values])[0]

    def answer(self, patient: Mapping[str, object], *, horizon: float | None = None) -> bytes:
        """Return what :meth:`predict` says of a patient that :meth:`validate` passes, as JSON.

        Raises:
            InvalidRequest: naming every field at fault.

        """
        values = self._read(patient, horizon)
        return self._frame(str(patient["disease"]), horizon).answers([values])[0]

    def answers(
        self, patients: Sequence[Mapping[str, object]], *, horizon: float | None = None
    ) -> list[bytes | InvalidRequest]:
        """Return each patient's answer, byte for byte as alone, or what is wrong with the patient."""
        answered: list[bytes | InvalidRequest] = []
        together: dict[str, dict[int, dict[str, float]]] = {}
        for at, patient in enumerate(patients):
            try:
                values = self._read(patient, horizon)
                together.setdefault(str(patient["disease"]), {})[at] = values
                answered.append(b"")
            except InvalidRequest as error:
                answered.append(error)
        for disease, rows in together.items():
            answers = self._frame(disease, horizon).answers(list(rows.values()))
            for at, answer in zip(rows, answers, strict=True):
                answered[at] = answer
        return answered

    def _frame(self, disease: str, horizon: float | None) -> PatientAnswer:
        """Return what answers of one kind have in common; made once and kept."""
        made = self._frames.get((disease, horizon))
        if made is None:
            answering = [endpoint for endpoint in self.endpoints if endpoint.answers(disease)]
            made = self._frames[disease, horizon] = PatientAnswer(
                endpoints=tuple(EndpointAnswer.of(endpoint, disease, horizon) for endpoint in answering),
                disease=disease,
                stratum=self.protocol.diseases.index(disease),
                dictionary=self.dictionary,
                encoder=self.encoder,
                information=self.information,
                likeness=self.likeness,
                applicability=self.applicability,
                index_event=self.protocol.time_zero,
                unanswered=self._unanswered(disease),
                notice=self._notice(),
            )
        return made

    def _notice(self) -> str:
        """Return the notice, naming endpoints by estimators other than the one of measured coverage."""
        titles = [e.endpoint.title for e in self.endpoints if e.estimator != DEFAULT]
        return NOTICE + UNMEASURED.format(", ".join(titles)) if titles else NOTICE

    def _unanswered(self, disease: str) -> tuple[Caution, ...]:
        return tuple(
            Caution("not_answered", None, f"{e.endpoint.title}: not followed long enough in this disease")
            for e in self.endpoints
            if not e.answers(disease)
        )

    def prepare(self) -> None:
        """Score every background and answer once a disease, so that the first patient need not wait."""
        for endpoint in self.endpoints:
            endpoint.prepare()
        for disease in self.protocol.diseases:
            if any(endpoint.answers(disease) for endpoint in self.endpoints):
                with suppress(NotExplained):  # which says nothing of other patients
                    self.answer({"disease": disease})

    def endpoint(self, name: str) -> FittedEndpoint:
        """Return one of the endpoints."""
        return next(e for e in self.endpoints if e.endpoint.name == name)

    def probabilities(self, cohort: Cohort, name: str, times: FloatArray) -> FloatArray:
        """Return an endpoint's probabilities for a whole cohort, shape (patients, outcomes, times)."""
        return self.endpoint(name).probabilities(self.encoder.encode(cohort), self.strata(cohort), times)

    def strata(self, cohort: Cohort) -> IntArray:
        """Return each patient's disease as its position in the protocol."""
        return strata(cohort, self.protocol.diseases)

    def check(self) -> None:
        """Raise what any part raises that does not fit the encoder, the dictionary and the protocol."""
        diseases = self.protocol.diseases
        for endpoint in self.endpoints:
            endpoint.check(columns=len(self.encoder.columns), diseases=diseases)
        self.applicability.check(diseases)
        self.information.check(diseases)
        self.likeness.check(diseases)
        self.plans.check(self.dictionary)

    def files(self) -> dict[str, bytes]:
        """Return the bundle's files; the same model gives the same bytes."""
        provenance = {
            "supported": {e.endpoint.name: dict(e.supported) for e in self.endpoints},
            "evidence": self.evidence,
            "cohort_fingerprint": self.cohort_fingerprint,
        }
        documents = {
            "protocol.json": self.protocol.as_dict(),
            "dictionary.json": self.dictionary.as_dict(),
            "encoder.json": self.encoder.as_dict(),
            "provenance.json": provenance,
            "applicability.json": self.applicability.as_dict(),
            "information.json": self.information.as_dict(),
            "likeness.json": self.likeness.as_dict(),
            "plans.json": self.plans.as_dict(),
            "card.json": self.card.as_dict(),
        }
        files = {
            name: json.dumps(document, indent=1, allow_nan=False).encode()
            for name, document in documents.items()
        }
        for endpoint in self.endpoints:
            files |= endpoint.files()
        return files

    def write(self, folder: Path) -> str:
        """Write the bundle into an empty folder and return its hash."""
        folder.mkdir(parents=True, exist_ok=False)
        files = self.files()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        manifest = canonical_json(
            {"format": FORMAT, "files": {n: sha256(c) for n, c in sorted(files.items())}}
        )
        (folder / MANIFEST).write_bytes(manifest)
        return sha256(manifest)


def read_bundle(folder: Path, *, expected_hash: str | None = None) -> ModelBundle:
    """Read a bundle, verifying every file against the manifest first.

    Raises:
        BundleRefused: naming each file that is missing, added or changed.

    """
    files = _verified(folder, expected_hash)
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
        information=Information.from_dict(documents["information.json"], encoder=encoder),
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


def bundle_hash(folder: Path) -> str:
    """Return a bundle's hash: the SHA-256 of its manifest."""
    return sha256((folder / MANIFEST).read_bytes())


def read_manifest(folder: Path, *, expected_hash: str | None = None) -> bytes:
    """Return a bundle's manifest, an object that states its files.

    Raises:
        BundleRefused: when it cannot be read, or has another hash than expected.

    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
        dict(json.loads(manifest)["files"].items())
    except (AttributeError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleRefused(
            f"{folder.name}: {MANIFEST} is missing or unreadable; restore the bundle"
        ) from error
    if expected_hash is not None and sha256(manifest) != expected_hash:
        raise BundleRefused(
            f"{folder.name}: {MANIFEST} is not the one that was registered; restore the bundle"
        )
    return manifest


def strata(cohort: Cohort, diseases: tuple[str, ...]) -> IntArray:
    """Return each patient's disease as its position among the protocol's diseases."""
    return np.array([diseases.index(str(disease)) for disease in cohort.text("disease")], dtype=np.int64)


def _verified(folder: Path, expected_hash: str | None) -> dict[str, bytes]:
    """Read each file once; what is verified is what is used."""
    stated = json.loads(read_manifest(folder, expected_hash=expected_hash))
    declared: dict[str, str] = dict(stated["files"])
    if stated.get("format") != FORMAT:
        raise BundleRefused(
            f"{folder.name}: format {stated.get('format')} is not {FORMAT}; renew it with: "
            f"salvage fit --protocol {_protocol_name(folder)} --cohort FILE"
        )
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    files, faults = {}, [f"{name} is missing" for name in sorted(set(declared) - present)]
    for name in sorted(present & set(declared)):
        try:
            files[name] = _content(folder / name)
        except OSError:
            faults.append(f"{name} cannot be read")
    faults += [f"{name} does not belong to it" for name in sorted(present - set(declared))]
    faults += [f"{name} was changed" for name in sorted(files) if sha256(files[name]) != declared[name]]
    if faults:
        raise BundleRefused(f"{folder.name}: {', '.join(faults)}; restore the bundle")
    return files


def _protocol_name(folder: Path) -> str:
    """Return the name of the protocol that a bundle of any format was fitted for, fit to be typed."""
    try:
        name = json.loads(_content(folder / "protocol.json"))["name"]
        return name if PROTOCOL_NAME.fullmatch(name) else "NAME"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "NAME"


def _content(path: Path) -> bytes:
    """Return what is in a file; a device, a pipe or what is far too large is no file of a bundle."""
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise OSError(f"{path.name} is no file of a bundle")
    return path.read_bytes()

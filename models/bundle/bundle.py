"""The model bundle: everything needed to answer, in files without pickle under a SHA-256 manifest.

manifest.json        the other files' SHA-256; its own SHA-256 is the bundle's hash
protocol.json        scope, index event, predictors, endpoints, horizons
dictionary.json      the predictors' declarations, as training read them
encoder.json         vocabulary and columns
provenance.json      supported follow-up, evidence, the cohort's fingerprint
applicability.json   ranges and categories seen in training
completion.json      borders of what training saw and the joint distribution of predictors
likeness.json        how usual combinations of values are
plans.json           which plans the training patients had
card.json            the model card

and for each endpoint, under its name: endpoint.json, its declaration and the estimator that reads its model;
the model's own files (an additive model's are model.json, trees.npz and each booster in xgboost's own JSON);
intervals.json and, of survival, bounds.json; and background.npz, the patients that explanations start from,
with their weights.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from features.cohort import Cohort, read_patient
from features.dictionary import Dictionary, FloatArray
from features.encoder import Encoder
from features.errors import InvalidRequest, NotExplained, Problem
from features.fingerprint import canonical_json, sha256
from features.protocol import StudyProtocol
from models.answer.coherence import event_free, reconciled, relations
from models.answer.endpoint_answer import EndpointAnswer
from models.answer.fitted_endpoint import FittedEndpoint
from models.answer.patient_answer import PatientAnswer
from models.bundle.card import ModelCard
from models.bundle.manifest import FORMAT, MANIFEST
from models.estimators.curves import IntArray
from models.estimators.registry import DEFAULT
from models.patient.applicability import Applicability
from models.patient.completion import Completion, Completions
from models.patient.plans import Plans
from models.patient.typicality import Likeness
from models.prediction import Caution, ExplainedScale, Prediction

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
    completion: Completion
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
        if not problems:
            problems += self.applicability.too_far(values, str(disease), self.dictionary)
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

    def predict(
        self, patient: Cohort, *, horizon: float | None = None, completed: Completions | None = None
    ) -> Prediction:
        """Answer for a cohort of one, explained at a horizon; :meth:`validate` has passed both.

        ``completed`` are the patient's rows, where unknown values are not to be drawn anew.
        """
        values = {name: float(column[0]) for name, column in patient.values.items()}
        return self._frame(str(patient.text("disease")[0]), horizon).predictions([values], completed)[0]

    def explained_means(self, patient: Cohort, answered: Prediction) -> dict[str, ExplainedScale]:
        """Explain the restricted means of a cohort of one as answered by :meth:`predict`, by endpoint."""
        values = {name: float(column[0]) for name, column in patient.values.items()}
        horizon = answered.endpoints[0].outcomes[0].explanation.horizon
        return self._frame(str(patient.text("disease")[0]), horizon).explained_means(values, answered)

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
                endpoints=tuple(
                    EndpointAnswer.of(endpoint, self.protocol.diseases, disease, horizon, answering)
                    for endpoint in answering
                ),
                disease=disease,
                dictionary=self.dictionary,
                encoder=self.encoder,
                completion=self.completion,
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
            endpoint.prepare(self.protocol.diseases)
        for disease in self.protocol.diseases:
            if any(endpoint.answers(disease) for endpoint in self.endpoints):
                with suppress(NotExplained):  # which says nothing of other patients
                    self.answer({"disease": disease})

    def endpoint(self, name: str) -> FittedEndpoint:
        """Return one of the endpoints."""
        return next(e for e in self.endpoints if e.endpoint.name == name)

    def probabilities(self, cohort: Cohort, name: str, times: FloatArray) -> FloatArray:
        """Return an endpoint's probabilities for a whole cohort, shape (patients, outcomes, times)."""
        return self.completed_probabilities(
            self.completion.complete_cohort(cohort), self.strata(cohort), name, times
        )

    def completed_probabilities(
        self, patients: Completions, strata: IntArray, name: str, times: FloatArray
    ) -> FloatArray:
        """Return the same of completed patients, ``strata`` (patients,) being their diseases.

        No endpoint contradicts another, as in an answer to one patient.
        """
        own = self.endpoint(name)
        probability = own.probabilities(patients, strata, times)
        for at, disease in enumerate(self.protocol.diseases):
            here, answering = strata == at, [e for e in self.endpoints if e.answers(disease)]
            stands = relations(own.endpoint, [e.endpoint for e in answering])
            if not stands or not here.any():
                continue
            free = {}
            for other in (self.endpoint(relation.other) for relation in stands):
                found = event_free(other.endpoint, other.probabilities(patients, strata, times))[here]
                free[other.endpoint.name] = np.where(times <= other.supported[disease], found, np.nan)
            probability[here, 0] = reconciled(probability[here, 0], stands, free)
        return probability

    def strata(self, cohort: Cohort) -> IntArray:
        """Return each patient's disease as its position in the protocol."""
        return strata(cohort, self.protocol.diseases)

    def check(self) -> None:
        """Raise what any part raises that does not fit the encoder, the dictionary and the protocol."""
        diseases = self.protocol.diseases
        for endpoint in self.endpoints:
            endpoint.check(columns=len(self.encoder.columns), diseases=diseases)
        self.applicability.check(diseases)
        self.completion.check(diseases)
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
            "completion.json": self.completion.as_dict(),
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


def strata(cohort: Cohort, diseases: tuple[str, ...]) -> IntArray:
    """Return each patient's disease as its position among the protocol's diseases."""
    return np.array([diseases.index(str(disease)) for disease in cohort.text("disease")], dtype=np.int64)

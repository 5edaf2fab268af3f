"""The model bundle: everything needed to answer, in files without pickle under a SHA-256 manifest.

manifest.json        the other files' SHA-256; its own SHA-256 is the bundle's hash
protocol.json        scope, index event, predictors, endpoint, horizons
dictionary.json      the predictors' declarations, as training read them
encoder.json         vocabulary and columns
hazard.json          intervals, baselines and linear coefficients
trees.npz            the boosted trees' leaves
provenance.json      supported follow-up, evidence, the cohort's fingerprint
applicability.json   ranges and categories seen in training
information.json     plausible values of what a test can find out
background.npz       the background patients that explanations start from, with their weights
card.json            the model card
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from features.cohort import Cohort
from features.dictionary import Dictionary, FloatArray
from features.encoder import Encoder
from features.errors import BundleRefused, InvalidInput, InvalidRequest, Problem
from features.fingerprint import canonical_json, sha256
from features.protocol import StudyProtocol
from models.applicability import Applicability
from models.background import Background
from models.card import ModelCard
from models.curves import IntArray, median_time
from models.explanation import METHOD, Attribution, EndpointExplainer
from models.hazard import HazardModel
from models.information import Information, NextTest
from models.prediction import (
    Contribution,
    ExplainedScale,
    Explanation,
    GroupContribution,
    HorizonSurvival,
    MedianSurvival,
    Prediction,
    SurvivalCurve,
)

FORMAT = 2
MANIFEST = "manifest.json"
SURVIVAL, LOG_HAZARD = "survival_probability", "log_cumulative_hazard"
REFERENCE = "mean prediction of the training cohort"
NOTICE = (
    "Describes patients of the training cohorts who were like this one. It is an association, not the effect "
    "of any treatment, and informs a clinician's decision without making it."
)


@dataclass(frozen=True)
class ModelBundle:
    """A fitted model with all it needs to answer.

    ``supported`` holds, per disease, the last month it answers for.
    """

    protocol: StudyProtocol
    dictionary: Dictionary
    encoder: Encoder
    model: HazardModel
    supported: Mapping[str, float]
    applicability: Applicability
    information: Information
    background: Background
    evidence: str
    cohort_fingerprint: str
    card: ModelCard

    def validate(self, patient: Mapping[str, object], *, horizon: float | None = None) -> Cohort:
        """Validate one patient by the dictionary training used, and the horizon to be explained.

        Raises:
            InvalidRequest: naming every field at fault; a disease outside the protocol's scope is refused.

        """
        problems: list[Problem] = []
        try:
            cohort = Cohort.from_patient(patient, dictionary=self.dictionary)
        except InvalidRequest as error:
            problems += error.problems
        if not any(problem.field == "disease" for problem in problems):
            problems += self._scope_problems(patient.get("disease"), horizon)
        if problems:
            raise InvalidRequest("patient", problems)
        return cohort

    def _scope_problems(self, disease: object, horizon: float | None) -> list[Problem]:
        diseases = "expected one of " + ", ".join(self.protocol.diseases)
        if disease is None:
            return [Problem("disease", "is missing", diseases)]
        if disease not in self.protocol.diseases:
            return [Problem("disease", "is outside this model's scope", diseases)]
        explainable = self.explainable(str(disease))
        if not explainable:
            return [Problem("disease", "was not followed long enough to answer", "train on longer follow-up")]
        if horizon is None or horizon in explainable:
            return []
        expected = "expected one of " + ", ".join(f"{h:g}" for h in explainable) + " months"
        return [Problem("horizon", "cannot be explained in this disease", expected)]

    def explainable(self, disease: str) -> tuple[float, ...]:
        """Return the protocol's horizons that this disease's follow-up supports."""
        return tuple(h for h in self.protocol.horizons if h <= self.supported[disease])

    def predict(self, patient: Cohort, *, horizon: float | None = None) -> Prediction:
        """Answer for a cohort of one, explained at a horizon; :meth:`validate` has passed both."""
        disease = str(patient.text("disease")[0])
        limit = self.supported[disease]
        usual = min(self.protocol.explained_horizon, self.explainable(disease)[-1])
        explained = usual if horizon is None else horizon
        x, stratum = self.encoder.encode(patient), self.strata(patient)
        months = curve_months(limit)
        survival = np.minimum.accumulate(np.clip(self.model.survival(x, stratum, months)[0], 0.0, 1.0))
        horizons = np.array(self.protocol.horizons)
        at_horizons = self.model.survival(x, stratum, horizons)[0]
        return Prediction(
            endpoint=self.protocol.endpoint,
            index_event=self.protocol.index_event,
            survival=tuple(
                _at_horizon(h, s, limit) for h, s in zip(horizons.tolist(), at_horizons.tolist(), strict=True)
            ),
            median=_median(months, survival, limit),
            curve=SurvivalCurve((0.0, *months.tolist()), (1.0, *survival.tolist())),
            explanation=self._explain(patient, x, stratum, explained),
            next_tests=self._next_tests(patient, explained),
            warnings=self.applicability.warnings(patient, disease=disease, dictionary=self.dictionary),
            notice=NOTICE,
        )

    def _explain(self, patient: Cohort, x: FloatArray, stratum: IntArray, horizon: float) -> Explanation:
        explained = self.explainer.explain(x, stratum, np.array([horizon]))
        on_survival, on_log_hazard = explained.at(outcome=self.model.outcome)
        return Explanation(
            horizon=horizon,
            method=METHOD,
            scales=(
                self._scale(patient, on_survival, SURVIVAL, f"probability of living {horizon:g} months"),
                self._scale(
                    patient, on_log_hazard, LOG_HAZARD, f"log of the cumulative hazard at {horizon:g} months"
                ),
            ),
        )

    def _scale(self, patient: Cohort, attribution: Attribution, scale: str, unit: str) -> ExplainedScale:
        values = patient.patient(0)
        contributions = tuple(
            Contribution(field.name, field.label, field.group, values[field.name], field.unit, float(share))
            for field, share in zip(self.dictionary.fields, attribution.contributions, strict=True)
        )
        groups = tuple(
            GroupContribution(group, sum(c.contribution for c in contributions if c.group == group))
            for group in dict.fromkeys(c.group for c in contributions)
        )
        return ExplainedScale(
            scale, unit, attribution.prediction, attribution.reference, REFERENCE, contributions, groups
        )

    def _next_tests(self, patient: Cohort, horizon: float) -> tuple[NextTest, ...]:
        """Rank the missing tests by how much knowing them would move survival at the horizon."""
        at = np.array([horizon])
        return self.information.rank(
            patient,
            lambda variants: self.survival(variants, at)[:, 0],
            outcome=f"the probability of living {horizon:g} months",
        )

    @cached_property
    def explainer(self) -> EndpointExplainer:
        """Return the explainer against the bundle's background."""
        return EndpointExplainer(
            self.model,
            self.background,
            owners=self.encoder.owners(),
            disease=self.dictionary.names.index("disease"),
            groups=tuple(field.group for field in self.dictionary.fields),
        )

    def prepare(self) -> None:
        """Score the background at every horizon, so that the first patient does not wait for it."""
        for horizon in self.protocol.horizons:
            self.explainer.prepared(np.array([horizon]))

    def survival(self, cohort: Cohort, times: FloatArray) -> FloatArray:
        """Return survival probabilities of a whole cohort, shape (patients, times)."""
        return self.model.survival(self.encoder.encode(cohort), self.strata(cohort), times)

    def answered(self, cohort: Cohort, times: tuple[float, ...]) -> FloatArray:
        """Return survival of a whole cohort, shape (patients, times), NaN beyond each disease's follow-up."""
        limits = np.array([self.supported[disease] for disease in self.protocol.diseases])[
            self.strata(cohort)
        ]
        at = np.array(times)
        return np.where(at <= limits[:, None], self.survival(cohort, at), np.nan)

    def strata(self, cohort: Cohort) -> IntArray:
        """Return each patient's disease as its position in the protocol."""
        return strata(cohort, self.protocol.diseases)

    def files(self) -> dict[str, bytes]:
        """Return the bundle's files; the same model gives the same bytes."""
        provenance = {
            "supported": dict(self.supported),
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
            "card.json": self.card.as_dict(),
        }
        files = {
            name: json.dumps(document, indent=1, allow_nan=False).encode()
            for name, document in documents.items()
        }
        return files | dict(self.model.files()) | {"background.npz": self.background.to_bytes()}

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
    except (KeyError, TypeError, ValueError, AttributeError, InvalidInput) as error:
        raise BundleRefused(f"{folder.name}: its files do not fit together ({error}); train again") from error


def _decode(files: Mapping[str, bytes]) -> ModelBundle:
    documents = {name: json.loads(content) for name, content in files.items() if name.endswith(".json")}
    dictionary = Dictionary.from_dict(documents["dictionary.json"])
    encoder = Encoder.from_dict(documents["encoder.json"], dictionary=dictionary)
    provenance = documents["provenance.json"]
    return ModelBundle(
        protocol=StudyProtocol.from_dict(documents["protocol.json"], dictionary=dictionary),
        dictionary=dictionary,
        encoder=encoder,
        model=HazardModel.from_files(files),
        supported=provenance["supported"],
        applicability=Applicability.from_dict(documents["applicability.json"]),
        information=Information.from_dict(documents["information.json"], encoder=encoder),
        background=Background.from_bytes(files["background.npz"]),
        evidence=provenance["evidence"],
        cohort_fingerprint=provenance["cohort_fingerprint"],
        card=ModelCard.from_dict(documents["card.json"]),
    )


def bundle_hash(folder: Path) -> str:
    """Return a bundle's hash: the SHA-256 of its manifest."""
    return sha256((folder / MANIFEST).read_bytes())


def strata(cohort: Cohort, diseases: tuple[str, ...]) -> IntArray:
    """Return each patient's disease as its position among the protocol's diseases."""
    return np.array([diseases.index(str(disease)) for disease in cohort.text("disease")], dtype=np.int64)


def curve_months(limit: float) -> FloatArray:
    """Return the months at which a curve is drawn: every second one, and the last supported one."""
    return np.unique(np.append(np.arange(2.0, limit, 2.0), limit))


def _verified(folder: Path, expected_hash: str | None) -> dict[str, bytes]:
    """Read each file once; what is verified is what is used."""
    try:
        manifest = (folder / MANIFEST).read_bytes()
        stated = json.loads(manifest)
        declared: dict[str, str] = dict(stated["files"].items())
    except (AttributeError, OSError, ValueError, KeyError, TypeError) as error:
        raise BundleRefused(
            f"{folder.name}: {MANIFEST} is missing or unreadable; restore the bundle"
        ) from error
    if expected_hash is not None and sha256(manifest) != expected_hash:
        raise BundleRefused(
            f"{folder.name}: {MANIFEST} is not the one that was registered; restore the bundle"
        )
    if stated.get("format") != FORMAT:
        raise BundleRefused(
            f"{folder.name}: format {stated.get('format')} is not {FORMAT}; train the model again"
        )
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    files, faults = {}, [f"{name} is missing" for name in sorted(set(declared) - present)]
    for name in sorted(present & set(declared)):
        try:
            files[name] = (folder / name).read_bytes()
        except OSError:
            faults.append(f"{name} cannot be read")
    faults += [f"{name} does not belong to it" for name in sorted(present - set(declared))]
    faults += [f"{name} was changed" for name in sorted(files) if sha256(files[name]) != declared[name]]
    if faults:
        raise BundleRefused(f"{folder.name}: {', '.join(faults)}; restore the bundle")
    return files


def _at_horizon(horizon: float, survival: float, limit: float) -> HorizonSurvival:
    if horizon > limit:
        return HorizonSurvival(horizon, None, f"follow-up in this disease supports {limit:.0f} months")
    return HorizonSurvival(horizon, min(max(survival, 0.0), 1.0))


def _median(months: FloatArray, survival: FloatArray, limit: float) -> MedianSurvival:
    median = median_time(months, survival)
    reason = (
        None
        if median is not None
        else f"more than half are predicted to live beyond {limit:.0f} months, where follow-up ends"
    )
    return MedianSurvival(median, reason)

"""One prediction, free of HTTP: validate, predict, record, answer."""

from collections.abc import Callable
from datetime import datetime

import orjson

from features.cohort import Cohort
from features.errors import InvalidRequest
from models.bundle import ModelBundle
from serving.audit.store import AuditStore, Entry
from serving.champions import Champion, Champions
from serving.contract import AuditReceipt, PredictionRequest

PREDICTION = "prediction"


class Predictor:
    """Answers requests; ``now`` and ``new_id`` are given so that a test can fix them."""

    def __init__(
        self,
        champions: Champions,
        store: AuditStore,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._champions = champions
        self._store = store
        self._now = now
        self._new_id = new_id

    def predict(self, request: PredictionRequest) -> bytes:
        """Return the answer as JSON; its record is durable by then.

        Raises:
            NotFound, NoChampion, BundleRefused: when the model asked for cannot answer.
            InvalidRequest: naming every field at fault.
            RecordNotWritten: when the record could not be made durable; nothing was answered.

        """
        champion = self._champion(request)
        patient = _validate(champion.bundle, request)
        prediction = champion.bundle.predict(patient, horizon=request.horizon)
        said = {
            "model": champion.stamp,
            "request": {"patient": dict(request.patient), "horizon": request.horizon},
            "prediction": prediction,
        }
        entry = self._store.append(
            entry_id=self._new_id(), at=self._now().isoformat(), kind=PREDICTION, body=orjson.dumps(said)
        )
        answer = {"model": champion.stamp, "prediction": prediction, "audit": receipt(entry)}
        return orjson.dumps(answer)

    def _champion(self, request: PredictionRequest) -> Champion:
        try:
            return self._champions.get(request.model)
        except InvalidRequest as error:
            raise InvalidRequest("request", (*request.problems, *error.problems)) from error

    def recorded(self, entry_id: str) -> bytes:
        """Return a prediction as it was recorded, byte for byte, with its receipt.

        Raises:
            NotFound: when there is none with this id.

        """
        entry = self._store.get(entry_id)
        audit = orjson.dumps(receipt(entry))
        return entry.body[:-1] + b',"audit":' + audit + b"}"


def _validate(bundle: ModelBundle, request: PredictionRequest) -> Cohort:
    """Judge request and patient together, so that every problem is named at once."""
    problems = request.problems
    try:
        patient = bundle.validate(request.patient, horizon=request.horizon)
    except InvalidRequest as error:
        problems += error.problems
    if problems:
        raise InvalidRequest("request", problems)
    return patient


def receipt(entry: Entry) -> AuditReceipt:
    """Return where an entry stands on record."""
    return AuditReceipt(entry.id, entry.seq, entry.at, entry.leaf_hash)

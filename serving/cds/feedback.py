"""Feedback on cards, validated and recorded; the same feedback may arrive again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from features.errors import InvalidRequest, Problem
from serving.audit.record import LogEntry
from serving.cds.call import is_uuid

FEEDBACK = "feedback"
ACCEPTED, OVERRIDDEN = "accepted", "overridden"
CODING = ("system", "code", "display")
MOST_REPORTS, LONGEST_WORDS = 200, 4000


@dataclass(frozen=True)
class CardFeedback:
    """Feedback on one card; ``words`` is the clinician's free text, which may name the patient."""

    card: str
    outcome: str
    accepted: tuple[str, ...]
    reason: Mapping[str, str] | None
    words: str | None
    at: str

    @property
    def facts(self) -> dict[str, Any]:
        """Return the facts for the record, without the clinician's text."""
        accepted = list(self.accepted)
        return {"card": self.card, "outcome": self.outcome, "accepted": accepted, "outcome_at": self.at}

    @property
    def content(self) -> bytes | None:
        """Return the reason for an override, erasable because it may name the patient."""
        reasons = {"reason": self.reason, "userComment": self.words}
        return orjson.dumps(reasons) if self.reason or self.words else None


def read_feedback(document: Mapping[str, Any]) -> list[CardFeedback]:
    """Parse a feedback request.

    Raises:
        InvalidRequest: naming every member that breaks the specification.

    """
    reports = document.get("feedback")
    if not isinstance(reports, list) or not 0 < len(reports) <= MOST_REPORTS:
        remedy = f"give 1 to {MOST_REPORTS} reports"
        raise InvalidRequest("feedback", [Problem("feedback", "is missing or no list of reports", remedy)])
    problems = [
        problem for place, one in enumerate(reports) for problem in _problems(one, f"feedback[{place}]")
    ]
    if problems:
        raise InvalidRequest("feedback", problems)
    return [_report(one) for one in reports]


def _report(report: Mapping[str, Any]) -> CardFeedback:
    why = report.get("overrideReason") or {}
    return CardFeedback(
        card=report["card"].lower(),
        outcome=report["outcome"],
        accepted=tuple(one["id"] for one in report.get("acceptedSuggestions", [])),
        reason=_coding(why.get("reason")),
        words=why.get("userComment"),
        at=report["outcomeTimestamp"],
    )


def _coding(reason: object) -> dict[str, str] | None:
    """Return the known members of a Coding."""
    if not isinstance(reason, dict):
        return None
    return {name: reason[name] for name in CODING if isinstance(reason.get(name), str)}


def _problems(report: object, where: str) -> Iterator[Problem]:
    if not isinstance(report, dict):
        yield Problem(where, "is not an object", "give card, outcome and outcomeTimestamp")
        return
    if not is_uuid(report.get("card")):
        yield Problem(f"{where}.card", "is missing or no UUID", "give the card's uuid")
    if report.get("outcome") not in (ACCEPTED, OVERRIDDEN):
        yield Problem(f"{where}.outcome", "is none known", f"expected {ACCEPTED} or {OVERRIDDEN}")
    if not _moment(report.get("outcomeTimestamp")):
        yield Problem(f"{where}.outcomeTimestamp", "is no time", "expected RFC 3339 in UTC")
    yield from _suggestion_problems(report, where)
    if "overrideReason" in report:
        yield from _reason_problems(report["overrideReason"], f"{where}.overrideReason")


def _suggestion_problems(report: Mapping[str, Any], where: str) -> Iterator[Problem]:
    suggestions = report.get("acceptedSuggestions", [])
    listed = suggestions if isinstance(suggestions, list) else [None]
    sound = all(isinstance(one, dict) and is_uuid(one.get("id")) for one in listed)
    if not sound or (report.get("outcome") == ACCEPTED and not listed):
        remedy = "list the id of each suggestion that was accepted"
        yield Problem(f"{where}.acceptedSuggestions", "are missing or no suggestions", remedy)


def _reason_problems(override: object, where: str) -> Iterator[Problem]:
    reason, words = (
        (override.get("reason"), override.get("userComment")) if isinstance(override, dict) else (None, None)
    )
    if reason is None and words is None:
        yield Problem(where, "says nothing", "give a reason (a Coding) or a userComment")
    if reason is not None and not (isinstance(reason, dict) and isinstance(reason.get("code"), str)):
        yield Problem(f"{where}.reason", "is no Coding", "give its code, system and display")
    if words is not None and not (isinstance(words, str) and len(words) <= LONGEST_WORDS):
        yield Problem(
            f"{where}.userComment", "cannot be kept", f"expected at most {LONGEST_WORDS} characters"
        )


def _moment(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def subject_of(entry: LogEntry | None) -> str | None:
    """Return the keyed hash of the patient whom a card was about; None for a card that was not shown here."""
    if entry is None:
        return None
    subject: str | None = orjson.loads(entry.body).get("subject")
    return subject

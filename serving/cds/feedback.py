"""Feedback on cards: judged, and put on record report by report; the same report may come again."""

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
    """What became of one card; ``words`` are the clinician's, which may name the patient."""

    card: str
    outcome: str
    accepted: tuple[str, ...]
    reason: Mapping[str, str] | None
    words: str | None
    at: str

    @property
    def facts(self) -> dict[str, Any]:
        """Return what the record says of it; nothing that a clinician wrote."""
        accepted = list(self.accepted)
        return {"card": self.card, "outcome": self.outcome, "accepted": accepted, "outcome_at": self.at}

    @property
    def content(self) -> bytes | None:
        """Return why a card was overridden, which may name the patient and can be erased."""
        said = {"reason": self.reason, "userComment": self.words}
        return orjson.dumps(said) if self.reason or self.words else None


def read_feedback(document: Mapping[str, Any]) -> list[CardFeedback]:
    """Return the reports.

    Raises:
        InvalidRequest: naming every member that breaks the specification.

    """
    given = document.get("feedback")
    if not isinstance(given, list) or not 0 < len(given) <= MOST_REPORTS:
        remedy = f"give 1 to {MOST_REPORTS} reports"
        raise InvalidRequest("feedback", [Problem("feedback", "is missing or no list of reports", remedy)])
    problems = [
        problem for place, one in enumerate(given) for problem in _problems(one, f"feedback[{place}]")
    ]
    if problems:
        raise InvalidRequest("feedback", problems)
    return [_report(one) for one in given]


def _report(given: Mapping[str, Any]) -> CardFeedback:
    why = given.get("overrideReason") or {}
    return CardFeedback(
        card=given["card"].lower(),
        outcome=given["outcome"],
        accepted=tuple(one["id"] for one in given.get("acceptedSuggestions", [])),
        reason=_coding(why.get("reason")),
        words=why.get("userComment"),
        at=given["outcomeTimestamp"],
    )


def _coding(reason: object) -> dict[str, str] | None:
    """Return what a Coding says, without anything else that came with it."""
    if not isinstance(reason, dict):
        return None
    return {name: reason[name] for name in CODING if isinstance(reason.get(name), str)}


def _problems(given: object, where: str) -> Iterator[Problem]:
    if not isinstance(given, dict):
        yield Problem(where, "is not an object", "give card, outcome and outcomeTimestamp")
        return
    if not is_uuid(given.get("card")):
        yield Problem(f"{where}.card", "is missing or no UUID", "give the card's uuid")
    if given.get("outcome") not in (ACCEPTED, OVERRIDDEN):
        yield Problem(f"{where}.outcome", "is none known", f"expected {ACCEPTED} or {OVERRIDDEN}")
    if not _moment(given.get("outcomeTimestamp")):
        yield Problem(f"{where}.outcomeTimestamp", "is no time", "expected RFC 3339 in UTC")
    yield from _suggestion_problems(given, where)
    if "overrideReason" in given:
        yield from _reason_problems(given["overrideReason"], f"{where}.overrideReason")


def _suggestion_problems(given: Mapping[str, Any], where: str) -> Iterator[Problem]:
    suggestions = given.get("acceptedSuggestions", [])
    listed = suggestions if isinstance(suggestions, list) else [None]
    sound = all(isinstance(one, dict) and is_uuid(one.get("id")) for one in listed)
    if not sound or (given.get("outcome") == ACCEPTED and not listed):
        remedy = "list the id of each suggestion that was accepted"
        yield Problem(f"{where}.acceptedSuggestions", "are missing or no suggestions", remedy)


def _reason_problems(given: object, where: str) -> Iterator[Problem]:
    reason, words = (
        (given.get("reason"), given.get("userComment")) if isinstance(given, dict) else (None, None)
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

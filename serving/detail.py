"""How much of a recorded answer is sent: all of it, or what most readers need of one with many predictors.

The record always holds the whole answer, so replay and reading it again do not depend on what was sent.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import orjson

from models.explanation.attribution import PROBABILITY

MOST_LISTED = 16


class Detail(StrEnum):
    """How much of an answer is asked for, or was sent."""

    BRIEF = "brief"
    FULL = "full"


def abridged(answer: bytes) -> tuple[bytes, Detail]:
    """Return a prediction's JSON without its longest lists, and whether anything was left out.

    Of more than 16 contributions to a probability the 16 largest stay, those of known values first; on the
    link's scale none. Of next tests the first 16 stay. Groups of contributions always stay, so they sum to
    the prediction.
    """
    prediction, left_out = orjson.loads(answer), False
    if len(prediction["next_tests"]) > MOST_LISTED:
        prediction["next_tests"], left_out = prediction["next_tests"][:MOST_LISTED], True
    for endpoint in prediction["endpoints"]:
        for outcome in endpoint["outcomes"]:
            for scale in outcome["explanation"]["scales"]:
                if len(scale["contributions"]) > MOST_LISTED:
                    main = _largest(scale["contributions"]) if scale["scale"] == PROBABILITY else []
                    scale["contributions"], left_out = main, True
    return (orjson.dumps(prediction), Detail.BRIEF) if left_out else (answer, Detail.FULL)


def _largest(contributions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the largest contributions, those of known values first, in the order in which they stood."""
    ranked = sorted(contributions, key=lambda c: (c["value"] is None, -abs(c["contribution"])))
    kept = {one["predictor"] for one in ranked[:MOST_LISTED]}
    return [one for one in contributions if one["predictor"] in kept]

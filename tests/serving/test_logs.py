"""The log: one JSON object a line, without values of patients or secrets."""

import json
import logging
import sys

from serving.logs import JsonLines


def line(message: str, *arguments: object, error: BaseException | None = None, **extra: object) -> dict:
    made = logging.LogRecord("salvage", logging.WARNING, "file.py", 7, message, arguments, None)
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    made.__dict__ |= extra
    text = JsonLines().format(made)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_says_when_how_bad_what_and_its_own_fields():
    said = line("not %s", "taken up", model="m", reason="two\nlines")
    assert said["at"].endswith("+00:00")
    assert {name: said[name] for name in ("level", "event", "model", "reason")} == {
        "level": "warning",
        "event": "not taken up",
        "model": "m",
        "reason": "two\nlines",
    }
    assert set(said) == {"at", "level", "event", "model", "reason"}


def test_an_exception_is_its_type_and_place_but_not_its_words():
    try:
        int("age 57.1937")
    except ValueError as error:
        said = line("failed", error=error)
    assert said["error"] == "ValueError"
    assert said["where"][-1].startswith(f"{__file__}:")
    assert "1937" not in str(said)


def test_an_exception_without_a_trace_is_said_too():
    said = line("failed", error=KeyError("1937"))
    assert (said["error"], said["where"]) == ("KeyError", [])
    assert "1937" not in str(said)


def test_whatever_a_field_holds_is_written():
    assert line("x", held=object())["held"].startswith("<object")
    assert line("x", pid=7, exit=None)["pid"] == 7


def test_what_a_terminal_would_colour_is_left_out():
    assert set(line("Started", color_message="\x1b[36mStarted")) == {"at", "level", "event"}
    assert "\x1b" not in JsonLines().format(
        logging.makeLogRecord({"msg": "a", "color_message": "\x1b", "exc_info": sys.exc_info()})
    )

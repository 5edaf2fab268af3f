"""Structured logs: one JSON object a line, on standard error, without patients' values or secrets."""

import logging
import sys
from datetime import UTC, datetime

import orjson

PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """Formats a log record's fields, and the type and location of an exception but not its message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        fields = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **{name: value for name, value in record.__dict__.items() if name not in PLAIN},
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields |= {"error": record.exc_info[0].__name__, "where": _where(record)}
        return orjson.dumps(fields, default=str).decode()


def _where(record: logging.LogRecord) -> list[str]:
    """Return the calls that led to an exception, as file:line."""
    trace = record.exc_info[2] if record.exc_info else None
    calls = []
    while trace is not None:
        code = trace.tb_frame.f_code
        calls.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return calls


def install() -> None:
    """Send every log of this process through one handler, once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("uvicorn.access").disabled = True

"""Secret keys in files: made at their first use, readable by their owner alone."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path


def read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return a key file's content; where there is none, make one.

    Nobody sees it half made, and when two make it in the same moment both get the one that was first.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    arriving = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        os.link(arriving, path)
    except FileExistsError:
        pass
    finally:
        arriving.unlink(missing_ok=True)
    return path.read_bytes()

"""What has to be so before anything of ours is imported."""

import os
from pathlib import Path

PROCESS = os.environ.get("PYTEST_XDIST_WORKER")

# Two processes that fill one cache of numba can each name the other's machine code: it numbers the files of a
# function without a lock.
if PROCESS is not None and "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parent / ".pytest_cache" / "numba" / PROCESS)

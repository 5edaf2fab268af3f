"""Compiling to machine code: kept on disk, and without holding up other threads.

Compiled functions call one another across files, and numba's cache watches only the file of the function that
is called. So the cache here is keyed by the sources of the whole package: whichever kernel changes, all are
compiled anew. docs/models.md says what is compiled when.
"""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import caching, cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

get_or_insert_function: Any = cgutils.get_or_insert_function
READING, SOON, DATA = 0, 3, 1
LOCATORS = ("InProvidedFolder", "BesideTheSource", "InUsersCache")


@cache
def source_stamp() -> bytes:
    """Return a hash over every source file of this package, in the order of their names."""
    room = Path(__file__).parent
    sources = sorted(room.rglob("*.py"))
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in sources)).digest()


class _ByPackage:
    def get_source_stamp(self) -> bytes:
        return source_stamp()


class InProvidedFolder(_ByPackage, caching.UserProvidedCacheLocator):
    """Keeps machine code where NUMBA_CACHE_DIR says, if it says."""


class BesideTheSource(_ByPackage, caching.InTreeCacheLocator):
    """Keeps machine code in ``__pycache__`` where that can be written."""


class InUsersCache(_ByPackage, caching.UserWideCacheLocator):
    """Keeps machine code in the user's own cache folder."""


def compiled(function: F) -> F:
    """Compile, keep the machine code on disk where there is a place, and let other threads run meanwhile."""
    before = numba.config.CACHE_LOCATOR_CLASSES  # type: ignore[attr-defined]
    numba.config.CACHE_LOCATOR_CLASSES = ",".join(f"{__name__}.{name}" for name in LOCATORS)  # type: ignore[attr-defined]
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))
    finally:
        numba.config.CACHE_LOCATOR_CLASSES = before  # type: ignore[attr-defined]


def _prefetch(context: Any, array: Any, at: Any) -> Any:
    """Ask the processor for an entry of an array that will be read soon; changes nothing but the wait."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        call = get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(call, [place, *(ir.Constant(word, hint) for hint in (READING, SOON, DATA))])
        return context.get_dummy_value()

    return types.void(array, at), generate


prefetch: Any = intrinsic(_prefetch)

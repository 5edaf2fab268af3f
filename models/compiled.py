"""Compiling to machine code: kept on disk, and without holding up other threads.

Compiled functions call one another across files, and numba's cache watches only the file of the function that
is called. So the cache here is keyed by the sources of the whole package: whichever kernel changes, all are
compiled anew. docs/models.md says what is compiled when.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import caching, cgutils
from numba.extending import intrinsic

try:
    import fcntl
except ImportError:  # where there is no such lock, as on Windows
    fcntl = None  # type: ignore[assignment]

F = TypeVar("F", bound=Callable[..., Any])

get_or_insert_function: Any = cgutils.get_or_insert_function
READING, SOON, DATA = 0, 3, 1
LOCK = ".compiling"


@cache
def source_stamp() -> bytes:
    """Return a hash over every source file of this package, in the order of their names."""
    sources = sorted(Path(__file__).parent.rglob("*.py"))
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in sources)).digest()


class _ByPackage:
    def get_source_stamp(self) -> bytes:
        return source_stamp()


class _InProvidedFolder(_ByPackage, caching.UserProvidedCacheLocator):
    """Keeps machine code where NUMBA_CACHE_DIR says, if it says."""


class _BesideTheSource(_ByPackage, caching.InTreeCacheLocator):
    """Keeps machine code in ``__pycache__`` where that can be written."""


class _InUsersCache(_ByPackage, caching.UserWideCacheLocator):
    """Keeps machine code in the user's own cache folder."""


class _CompiledByPackage(caching.CompileResultCacheImpl):
    _locator_classes: list[type[object]] = [_InProvidedFolder, _BesideTheSource, _InUsersCache]  # noqa: RUF012  as numba declares it


class PackageCache(caching.FunctionCache):
    """Numba's cache on disk, keyed by the whole package and written by one process at a time.

    Numba numbers the files of a function's signatures without a lock: two processes that compile different
    ones at the same moment would store one's code under the other's signature.
    """

    _impl_class = _CompiledByPackage

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store one signature's code."""
        Path(self.cache_path).mkdir(parents=True, exist_ok=True)
        with (Path(self.cache_path) / LOCK).open("w") as lock:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


def compiled(function: F) -> F:
    """Compile, keep the machine code on disk where there is a place, and let other threads run meanwhile."""
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(function)
    with suppress(RuntimeError):  # neither this folder nor the user's cache can be written
        dispatcher._cache = PackageCache(function)  # type: ignore[no-untyped-call]
    return cast(F, dispatcher)


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

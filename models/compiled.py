"""Compiling to machine code: kept on disk, and without holding up other threads."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

get_or_insert_function: Any = cgutils.get_or_insert_function
READING, SOON, DATA = 0, 3, 1


def compiled(function: F) -> F:
    """Compile, keep the machine code on disk where there is a place, and let other threads run meanwhile."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # neither this folder nor the user's cache can be written
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


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

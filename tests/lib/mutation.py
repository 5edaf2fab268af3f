"""Documents that are almost right: one with any JSON in the place of one of its parts."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
)
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner)
)
DEEP: Any = None
for _ in range(300):
    DEEP = [DEEP]


def places(document: Any, before: Path = ()) -> Iterator[Path]:
    """Yield the path of every part of a document."""
    parts = document.items() if isinstance(document, dict) else enumerate(document)
    for name, part in parts:
        yield (*before, name)
        if isinstance(part, dict | list):
            yield from places(part, (*before, name))


@st.composite
def almost(draw: st.DrawFn, document: Any) -> Any:
    """Draw a document with one part replaced, or taken out."""
    changed = copy.deepcopy(document)
    *way, last = draw(st.sampled_from(sorted(places(document), key=str)))
    holder = changed
    for step in way:
        holder = holder[step]
    if draw(st.booleans()) and isinstance(holder, dict):
        del holder[last]
    else:
        holder[last] = draw(ANY_JSON | st.just(DEEP))
    return changed

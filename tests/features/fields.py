"""Values that hypothesis draws for a dictionary field: what its rule allows."""

from typing import Any

from hypothesis import strategies as st

from features.dictionary import Dictionary, Field
from tests.lib.patients import dictionary

DICTIONARY: Dictionary = dictionary()
FIELDS = st.sampled_from(DICTIONARY.fields)


def allowed(field: Field) -> st.SearchStrategy[Any]:
    """Draw a value that the field's rule allows, in the type that a reader would write it in."""
    if field.type == "flag":
        return st.booleans()
    if field.type == "category":
        return st.sampled_from(field.category_names)
    if field.type == "integer":
        return st.integers(int(field.minimum), int(field.maximum))
    return st.floats(field.minimum, field.maximum, allow_nan=False).map(lambda number: number + 0.0)


@st.composite
def field_and_values(draw: st.DrawFn) -> tuple[Field, list[Any]]:
    """Draw a field and a column of allowed values with gaps."""
    field = draw(FIELDS)
    return field, draw(st.lists(st.none() | allowed(field), max_size=12))

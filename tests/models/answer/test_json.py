"""Rendering: JSON from a template is the JSON of the whole."""

from dataclasses import dataclass

import orjson
from hypothesis import given
from hypothesis import strategies as st

from models.answer.json import Template, markers, numbers_as_json


@dataclass(frozen=True)
class Said:
    label: str
    value: object
    others: tuple[object, ...]


@given(st.text(), st.lists(st.floats(), min_size=3, max_size=3))
def test_a_filled_template_is_the_json_of_the_whole(label, numbers):
    def said(parts):
        return {"first": Said(label, parts[0], (parts[2], None, 3)), "again": [parts[0], parts[1]]}

    template = Template.of(said(markers(3)))
    assert template.filled(numbers_as_json(numbers)) == orjson.dumps(said(numbers))


def test_markers_continue_where_others_ended():
    assert Template.of([*markers(1, start=7), *markers(1, start=3)]).order == (7, 3)

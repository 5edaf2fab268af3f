"""The model card: plain JSON, there and back."""

import json

from models.bundle.card import ModelCard


def test_a_stored_card_says_the_same(bundle):
    stored = json.loads(json.dumps(bundle.card.as_dict(), allow_nan=False))
    assert ModelCard.from_dict(stored) == bundle.card


def test_a_card_of_made_patients_says_so(bundle):
    assert bundle.card.evidence == "synthetic"
    assert bundle.card.name == "salvage-relapse-survival-synthetic"
    assert bundle.card.cohorts[0]["evidence"] == "synthetic"


def test_a_card_carries_the_protocols_words(bundle):
    study = bundle.protocol
    assert bundle.card.intended_use == study.intended_use
    assert bundle.card.out_of_scope == study.out_of_scope
    assert bundle.card.index_event == study.index_event
    assert bundle.card.horizons == study.horizons

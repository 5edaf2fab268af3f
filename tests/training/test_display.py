"""Display: what is printed of figures, and why there is none."""

from io import StringIO

from rich.console import Console

from training import display


def printed(metrics):
    console = Console(file=StringIO(), width=120)
    summary = {
        "seen_in_training": False,
        "model": "m",
        "endpoints": {"relapse_and_non_relapse_mortality": {"all": metrics}},
    }
    display.external(console, summary)
    return console.file.getvalue()


def test_a_figure_stands_with_its_interval_under_its_outcome_and_horizon():
    text = printed({"relapse.ici_24": {"value": 0.0213, "low": 0.0, "high": 0.05}})
    assert "relapse: ICI, 24 months" in text
    assert "0.0213 (0.000 to 0.050)" in text


def test_each_reason_for_no_figure_is_given_once():
    missing = {"value": None, "low": None, "high": None, "reason": "nobody is followed"}
    text = printed({"relapse.ici_24": missing, "relapse.ici_60": missing, "relapse.c": missing})
    assert text.count("nobody is followed") == 1
    assert text.count(" none ") == 3
    assert "relapse: Wolbers' C" in text

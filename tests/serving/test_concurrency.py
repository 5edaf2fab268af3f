"""Many at once: the same patient, the same answer, one sequence."""

from concurrent.futures import ThreadPoolExecutor

from models.bundle.shelf import Shelf
from tests.lib.patients import BREAST
from tests.serving.client import (
    COLORECTAL,
    MODEL,
    ask,
    other_bundle,
    prediction_bytes,
    publish_next,
    rows,
)


def test_16_threads_of_20_requests_are_all_answered_alike(client, home):
    patients = [BREAST, COLORECTAL]
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda n: ask(client, patients[n % 2]), range(16 * 20)))
    assert {response.status_code for response in responses} == {200}
    for which in (0, 1):
        assert len({prediction_bytes(response.content) for response in responses[which::2]}) == 1
    assert sorted(r.json()["audit"]["seq"] for r in responses) == list(range(2, 322))
    assert [row[0] for row in rows(home)] == list(range(2, 322))


def test_8_threads_over_good_and_refused_requests_leave_no_gap(client, home):
    with ThreadPoolExecutor(8) as pool:
        horizons = [24, 25, 36, "24", None, 12] * 10
        statuses = list(pool.map(lambda horizon: ask(client, horizon=horizon).status_code, horizons))
    assert statuses == [200, 422, 200, 422, 200, 200] * 10
    assert [row[0] for row in rows(home)] == list(range(2, 42))


def test_a_promotion_under_load_never_mixes_two_models(client, home, bundle):
    publish_next(home, other_bundle(bundle))
    shelf = Shelf(home / "shelf")

    def work(number):
        if number % 10 == 5:
            shelf.promote(MODEL, "2" if number % 20 == 5 else "1")
        return ask(client)

    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(work, range(80)))
    assert {response.status_code for response in responses} == {200}
    said = {(r.json()["model"]["version"], prediction_bytes(r.content)) for r in responses}
    assert sorted(version for version, _ in said) == ["1", "2"]

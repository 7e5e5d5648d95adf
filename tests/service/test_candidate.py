"""A candidate on trial beside the version that serves: as a canary, and as a shadow."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service.registry.aliases import Candidate
from service.registry.registry import Registry
from service.registry.store import Store
from service.services import Services
from service.serving.candidate import is_sampled
from service.serving.model import ServingModel
from service.serving.predictor import Predictor
from service.settings import Settings
from tests.service.conftest import half_trained, wait_until
from tests.service.test_predict import assert_problem
from training import Dataset

IDS = [f"request-{number}" for number in range(4000)]


@pytest.fixture
def registry(store: Store) -> Registry:
    registry = Registry(store)
    for seed in (1, 2, 3):
        registry.publish("odd", *half_trained(seed=seed))
    return registry


@pytest.fixture
def predictor(registry: Registry) -> Iterator[Predictor]:
    predictor = Predictor(registry, "odd", "production", on_reload=lambda _: None)
    yield predictor
    predictor.close()


def labels_by(snapshot: ServingModel, digits: Dataset) -> list[str]:
    return [snapshot.labels[place] for place in snapshot.predict(digits.images[:500]).argmax(axis=1)]


def try_out(registry: Registry, predictor: Predictor, candidate: Candidate | None, version: int = 1) -> None:
    registry.promote("odd", "production", version, candidate=candidate)
    predictor.refresh()


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 1.0])
def test_a_canary_answers_its_share_and_the_same_requests_each_time(
    share: float, registry: Registry, predictor: Predictor
) -> None:
    try_out(registry, predictor, Candidate(2, share, "canary"))
    chosen = [predictor.route(request_id).version for request_id in IDS]
    assert chosen == [predictor.route(request_id).version for request_id in IDS]
    assert set(chosen) <= {1, 2}
    deviation = (share * (1 - share) / len(IDS)) ** 0.5
    assert chosen.count(2) / len(IDS) == pytest.approx(share, abs=4 * deviation)


def test_a_greater_share_only_adds_requests_and_every_replica_takes_the_same() -> None:
    few, many = ({request_id for request_id in IDS if is_sampled(request_id, share)} for share in (0.1, 0.3))
    assert few < many
    # Fixed by the hash alone: these must never change, or a client would meet another version after an update.
    assert [is_sampled(request_id, 0.5) for request_id in ("a", "b", "c", "d")] == [True, False, True, False]


def test_a_shadow_answers_nothing_and_tells_how_often_it_agrees(
    registry: Registry, predictor: Predictor, digits: Dataset
) -> None:
    try_out(registry, predictor, Candidate(2, 1.0, "shadow"))
    serving = predictor.serving
    answers = labels_by(serving, digits)
    for place in range(0, 500, 50):
        request_id = IDS[place]
        assert predictor.route(request_id) is serving
        chunk = slice(place, place + 50)
        predictor.mirror(request_id, serving, digits.images[chunk], answers[chunk])
    trial = predictor.rollout
    assert trial is not None
    wait_until(lambda: trial.stats().compared == 500, "all comparisons")
    expected = np.mean(np.array(answers) == np.array(labels_by(predictor.get(version=2), digits)))
    assert trial.stats().agreement == pytest.approx(float(expected))
    assert (trial.stats().requests, trial.stats().dropped) == (10, 0)


def test_a_shadow_reads_its_share_along(registry: Registry, predictor: Predictor, digits: Dataset) -> None:
    try_out(registry, predictor, Candidate(2, 0.2, "shadow"))
    (label,) = labels_by(predictor.serving, digits)[:1]
    for request_id in IDS[:100]:
        predictor.mirror(request_id, predictor.route(request_id), digits.images[:1], [label])
    assert predictor.rollout is not None
    assert predictor.rollout.stats().requests == sum(is_sampled(request_id, 0.2) for request_id in IDS[:100])


def test_of_a_canary_the_agreement_is_told_too(registry: Registry, predictor: Predictor, digits: Dataset) -> None:
    try_out(registry, predictor, Candidate(2, 1.0, "canary"))
    canary = predictor.route("any")
    answers = labels_by(canary, digits)
    predictor.mirror("any", canary, digits.images[:500], answers)
    trial = predictor.rollout
    assert trial is not None
    wait_until(lambda: trial.stats().compared == 500, "the comparison")
    expected = np.mean(np.array(answers) == np.array(labels_by(predictor.serving, digits)))
    assert trial.stats().agreement == pytest.approx(float(expected))


def test_what_comparing_cannot_keep_up_with_is_dropped_and_counted(
    registry: Registry, predictor: Predictor, digits: Dataset
) -> None:
    try_out(registry, predictor, Candidate(2, 1.0, "shadow"))
    batch, labels = digits.images[:64], ["0"] * 64
    for _ in range(2000):
        predictor.mirror("any", predictor.serving, batch, labels)
    trial = predictor.rollout
    assert trial is not None
    figures = wait_until(
        lambda: f if (f := trial.stats()).compared == 64 * (f.requests - f.dropped) else None, "what was not dropped"
    )
    assert figures.requests == 2000
    assert figures.dropped > 0


@pytest.mark.parametrize("damaged", ["2/weights.npz", "2/manifest.json"])
def test_a_candidate_that_went_bad_is_told_and_disturbs_nobody(
    damaged: str, registry: Registry, predictor: Predictor, store: Store
) -> None:
    good = store.get(f"models/odd/{damaged}")
    registry.promote("odd", "production", 1, candidate=Candidate(2, 1.0, "canary"))
    store.put(f"models/odd/{damaged}", b"rotten")
    predictor.refresh()
    assert predictor.route("any").version == 1
    assert predictor.last_error is None
    assert "damaged" in str(predictor.candidate_error)
    store.put(f"models/odd/{damaged}", good)
    predictor.refresh()
    assert predictor.route("any").version == 2
    assert predictor.candidate_error is None


def test_a_promotion_or_a_rollback_ends_the_trial(registry: Registry, predictor: Predictor) -> None:
    try_out(registry, predictor, Candidate(2, 1.0, "canary"), version=3)
    try_out(registry, predictor, Candidate(2, 1.0, "canary"))
    first = predictor.rollout
    assert first is not None
    try_out(registry, predictor, Candidate(2, 0.5, "canary"))
    assert predictor.rollout is not first
    registry.roll_back("odd", "production")
    predictor.refresh()
    assert (predictor.rollout, predictor.route("any").version) == (None, 3)
    try_out(registry, predictor, None, version=2)
    assert (predictor.rollout, predictor.route("any").version) == (None, 2)


def test_a_candidate_must_be_there_and_be_another_version(registry: Registry) -> None:
    from service.errors import NotFound, UnprocessableContent

    with pytest.raises(NotFound):
        registry.promote("odd", "production", 1, candidate=Candidate(9, 0.5, "canary"))
    with pytest.raises(UnprocessableContent):
        registry.promote("odd", "production", 1, candidate=Candidate(1, 0.5, "canary"))
    assert registry.history("odd", "production") == []


PRODUCTION = "/models/mnist/aliases/production"


async def test_a_shadow_over_http(app: FastAPI, client: httpx.AsyncClient, digits: Dataset) -> None:
    services: Services = app.state.services
    second = services.registry.publish("mnist", *half_trained()).version
    put = await client.put(PRODUCTION, json={"version": 1, "candidate": second}, headers={"If-Match": '"1"'})
    assert put.status_code == 200, put.text
    assert (put.json()["candidate"], put.json()["share"], put.json()["mode"]) == (second, 1.0, "shadow")
    for digit in digits.images[:20]:
        assert (await client.post("/predict", json={"pixels": digit.tolist()})).json()["version"] == 1
    trial = services.predictor.rollout
    assert trial is not None
    wait_until(lambda: trial.stats().compared == 20, "all comparisons")
    shown = (await client.get(PRODUCTION)).json()
    assert shown["trial"]["requests"] == shown["trial"]["compared"] == 20
    assert shown["trial"]["agreement"] == trial.stats().agreement
    labels = f'{{mode="shadow",model="mnist",version="{second}"}}'
    assert f"glyphserve_trial_compared_total{labels} 20.0" in (await client.get("/metrics")).text
    back = await client.put(PRODUCTION, json={"version": 1})
    assert back.json()["candidate"] is None
    assert (await client.get(PRODUCTION)).json()["trial"] is None


async def test_a_canary_over_http_is_named_in_its_answers(
    app: FastAPI, client: httpx.AsyncClient, settings: Settings, digits: Dataset
) -> None:
    services: Services = app.state.services
    second = services.registry.publish("mnist", *half_trained()).version
    await client.put(PRODUCTION, json={"version": 1, "candidate": second, "share": 0.5, "mode": "canary"})
    body = {"pixels": digits.images[0].tolist()}
    for request_id in IDS[:40]:
        answer = await client.post("/predict", json=body, headers={"X-Request-ID": request_id})
        assert answer.headers["x-model-version"] == str(second if is_sampled(request_id, 0.5) else 1)
    assert (await client.post("/predict?alias=production", json=body)).json()["version"] == 1
    shown = (await client.get(PRODUCTION)).json()
    assert shown["trial"]["requests"] == sum(is_sampled(request_id, 0.5) for request_id in IDS[:40])
    assert settings.alias == shown["alias"]


async def test_a_rollback_over_http_goes_back_once(app: FastAPI, client: httpx.AsyncClient) -> None:
    services: Services = app.state.services
    assert_problem(await client.post(f"{PRODUCTION}/rollback"), 409, "conflict")
    second = services.registry.publish("mnist", *half_trained()).version
    etag = (await client.put(PRODUCTION, json={"version": second})).headers["etag"]
    back = await client.post(f"{PRODUCTION}/rollback", headers={"If-Match": etag}, json={"reason": "worse"})
    assert (back.json()["version"], back.json()["reason"]) == (1, "worse")
    assert_problem(await client.post(f"{PRODUCTION}/rollback", headers={"If-Match": etag}), 412, "precondition_failed")
    assert (await client.get("/health/ready")).json()["version"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {"candidate": 1},
        {"candidate": 2, "mode": "canary"},
        {"candidate": 2, "mode": "loud"},
        {"candidate": 2, "share": 0},
        {"candidate": 2, "share": 1.5},
        {"share": 0.5},
        {"mode": "shadow"},
    ],
)
async def test_impossible_trials_are_refused(body: dict[str, object], app: FastAPI, client: httpx.AsyncClient) -> None:
    services: Services = app.state.services
    services.registry.publish("mnist", *half_trained())
    assert_problem(await client.put(PRODUCTION, json={"version": 1} | body), 422)
    assert (await client.get(PRODUCTION)).json()["generation"] == 1

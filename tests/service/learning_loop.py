"""The loop as users see it: predictions that are wrong, corrections, a job, and the predictions after it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.service.conftest import Server, png, wait_until
from training.types import Pixels

_AT_ONCE = 50
_JOB_SECONDS = 1200.0  # of all of MNIST, on a machine that has other work


def mirrored(pictures: Pixels) -> Pixels:
    """Write digits as a mirror shows them, a column to the right: so they stay in MNIST's form."""
    return np.roll(pictures[:, :, ::-1], 1, axis=2)


def upside_down(pictures: Pixels) -> Pixels:
    """Write digits as a lake shows them, a row lower."""
    return np.roll(pictures[:, ::-1], 1, axis=1)


def lying(pictures: Pixels) -> Pixels:
    """Write digits with rows and columns exchanged."""
    return np.ascontiguousarray(pictures.transpose(0, 2, 1))


ODD_WAYS = {"mirrored": mirrored, "upside_down": upside_down, "lying": lying}


def answers(server: Server, pictures: Pixels) -> list[dict[str, Any]]:
    """Read pictures over HTTP, several in a request; answer the predictions in their order."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(pictures), _AT_ONCE):
        body = {"instances": pictures[start : start + _AT_ONCE].tolist()}
        answer = server.http.post("/predict", json=body).json()
        found += [{**one, "version": answer["version"]} for one in answer["predictions"]]
    return found


def share_right(server: Server, pictures: Pixels, labels: Sequence[str]) -> float:
    """Measure the accuracy over HTTP."""
    read = [answer["label"] for answer in answers(server, pictures)]
    return float(np.mean([mine == right for mine, right in zip(read, labels, strict=True)]))


def correct(server: Server, pictures: Pixels, label: str) -> None:
    """Let each picture be read, and put the answer right by its request id, be it wrong or not."""
    for picture in pictures:
        read = server.http.post("/predict", content=png(picture), headers={"Content-Type": "image/png"}).json()
        sent = server.http.post("/samples", json={"request_id": read["request_id"], "label": label})
        assert sent.status_code == 201, sent.text


def learn(server: Server, **body: Any) -> dict[str, Any]:
    """Let a job learn from the samples, and wait until what it made answers, or is refused."""
    job_id = server.submit(recipe="corrections", include_samples=True, **body)["id"]
    ended = ("succeeded", "rejected", "failed")
    job: dict[str, Any] = wait_until(
        lambda: found if (found := server.job(job_id))["state"] in ended else None, "the job", _JOB_SECONDS
    )
    if job["promoted"]:
        wait_until(lambda: server.http.get("/health/ready").json()["version"] == job["version"], "the new version")
    return job

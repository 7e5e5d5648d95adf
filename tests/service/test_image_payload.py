from typing import Any

import httpx
import pytest

from service.api.routes import image_payload
from service.services import Services
from tests.hostile.forms import form, part
from tests.service.test_predict import assert_problem

KIND = "multipart/form-data; boundary=b"
GOOD = form(part())


def fields(count: int, size: int = 1) -> bytes:
    return form(part(), *[part(f'form-data; name="f{number}"', b"x" * size) for number in range(count)])


@pytest.mark.parametrize(
    ("kind", "body", "status", "reason"),
    [
        ("multipart/form-data", GOOD, 400, "no boundary in the Content-Type: let your client set it"),
        ("multipart/form-data; boundary=", GOOD, 400, "no boundary in the Content-Type"),
        ('multipart/form-data; boundary=""', GOOD, 400, "no boundary in the Content-Type"),
        ("multipart/form-data; charset=utf-8", GOOD, 400, "no boundary in the Content-Type"),
        (KIND, fields(9), 413, "more than 8 fields"),
        (KIND, form(*[part(content=b"x")] * 1001), 413, "more than 1,000 files"),
        (KIND, fields(1, 1_100_000), 413, "larger than 1,024 KiB"),
        (KIND, form(part('form-data; filename="a.png"')), 400, "needs a name"),
        (KIND, GOOD[:-6], 400, "without its closing boundary"),
        (KIND, GOOD[:40], 400, "without its closing boundary"),
        (KIND, b"", 400, "without its closing boundary"),
        (KIND, form(part(), boundary=b"other"), 400, "names another boundary"),
        (KIND, b"\x89PNG" + GOOD, 400, "not as RFC 7578"),
        (KIND, form(part(), part())[:-6] + b"\r\n", 400, "without its closing boundary"),
        (KIND, form(part('form-data; name="image"; filename="a"')), 422, "`file`"),
        (KIND, form(part('form-data; name="file"')), 422, "`file`"),
    ],
)
@pytest.mark.parametrize("path", ["/predict", "/samples?label=1"])
async def test_a_form_that_is_refused_is_told_why(
    path: str, kind: str, body: bytes, status: int, reason: str, client: httpx.AsyncClient
) -> None:
    answer = await client.post(path, content=body, headers={"Content-Type": kind})
    assert reason in assert_problem(answer, status)["detail"]


async def test_a_form_may_have_a_few_fields_more_and_a_quoted_boundary(client: httpx.AsyncClient) -> None:
    for kind in (KIND, 'Multipart/Form-Data; charset=utf-8; Boundary="b"'):
        answer = await client.post("/predict", content=fields(8), headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ["images", "instances"])
@pytest.mark.parametrize("path", ["/predict", "/samples?label=1"])
async def test_images_are_counted_before_any_is_looked_at(
    path: str, name: str, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, is_batch = image_payload._JSON_FORMS[name]
    seen: list[Any] = []

    def noted(value: Any, services: Services) -> image_payload.ImageSource:
        seen.append(value)
        return make(value, services)

    monkeypatch.setitem(image_payload._JSON_FORMS, name, (noted, is_batch))
    answer = await client.post(path, json={name: [0] * 10_000})
    assert "10000 images; at most 64" in assert_problem(answer, 413)["detail"]
    assert not seen
    assert (await client.post("/predict", json={name: [0] * 64})).status_code == 200
    assert len(seen) == 64

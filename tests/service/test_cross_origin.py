"""What a web page of another origin may do with the service, by its headers and in a real browser."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI

from service.api.auth import SAFE_METHODS, changes_state
from tests.service.conftest import Server, png
from tests.service.test_auth import bearer, keyed, keys, operations
from tests.service.test_predict import assert_problem
from training import Dataset

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["keyed", "keys"]

CROSS_SITE: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:9000"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "file://"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost"},
    {"Origin": "http://localhost:80"},
    {"Origin": "https://LOCALHOST"},  # TLS ends at a proxy
    {"Origin": "https://localhost:443"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"},
]
PREDICTIONS = {"predict", "infer", "classify", "regress", "explain", "index"}


async def test_every_request_that_changes_something_is_refused_to_pages_of_other_origins(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    refused = 0
    for method, address, path in operations(app):
        if method in SAFE_METHODS:
            continue
        is_prediction = path.replace(":", "/").rpartition("/")[2] in PREDICTIONS
        assert changes_state(method, address) is not is_prediction, path
        for headers in CROSS_SITE:
            answer = await client.request(method, address, headers=headers)
            if is_prediction:
                assert answer.status_code != 403
            else:
                refused += 1
                problem = answer.json()
                assert (answer.status_code, problem["code"]) == (403, "cross_origin"), (path, headers)
                assert "key" in problem["detail"]
    assert refused >= 8 * len(CROSS_SITE)
    assert (await client.get("/train")).json()["jobs"] == []


@pytest.mark.parametrize("own_comes_last", [True, False])
@pytest.mark.parametrize(
    ("name", "own", "other"),
    [("Sec-Fetch-Site", "same-origin", "cross-site"), ("Origin", "http://localhost", "http://evil.example")],
)
async def test_of_headers_that_come_twice_each_must_be_the_own_pages(
    name: str, own: str, other: str, own_comes_last: bool, client: httpx.AsyncClient
) -> None:
    values = (other, own) if own_comes_last else (own, other)
    answer = await client.delete("/samples?everything=true", headers=[(name, value) for value in values])
    assert_problem(answer, 403, "cross_origin")
    answer = await client.delete("/samples?everything=true", headers=[(name, own), (name, own)])
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/", "/not/yet/there", "/models/mnist/versions/1", "/predict/more"])
async def test_addresses_that_are_not_known_yet_are_refused_too(
    method: str, path: str, client: httpx.AsyncClient
) -> None:
    answer = await client.request(method, path, headers={"Sec-Fetch-Site": "cross-site"})
    assert_problem(answer, 403, "cross_origin")


@pytest.mark.parametrize("headers", OWN)
async def test_own_pages_and_clients_that_are_no_browsers_are_answered(
    headers: dict[str, str], client: httpx.AsyncClient, digits: Dataset
) -> None:
    body = {"pixels": digits.images[0].tolist(), "label": "7"}
    assert (await client.post("/samples", json=body, headers=headers)).status_code == 201
    assert (await client.delete("/samples", params={"everything": True}, headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", CROSS_SITE)
async def test_what_changes_nothing_is_answered_to_every_page(
    headers: dict[str, str], client: httpx.AsyncClient, digits: Dataset
) -> None:
    for path in ("/", "/models", "/samples", "/train", "/health/ready", "/docs"):
        assert (await client.get(path, headers=headers)).status_code == 200, path
    answer = await client.post(
        "/predict", content=png(digits.images[0]), headers={"Content-Type": "image/png"} | headers
    )
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("headers", CROSS_SITE)
async def test_a_key_opens_from_everywhere(
    headers: dict[str, str], keyed: httpx.AsyncClient, keys: dict[str, str], digits: Dataset
) -> None:
    body = {"pixels": digits.images[0].tolist(), "label": "7"}
    assert (await keyed.post("/samples", json=body, headers=bearer(keys["train"]) | headers)).status_code == 201
    assert_problem(await keyed.post("/samples", json=body, headers=headers), 401, "unauthorized")


async def test_what_only_looks_like_a_key_opens_nothing(client: httpx.AsyncClient) -> None:
    for shown in ("Bearer x", "Basic Z3M6Z3M=", "Bearer gs_aaaaaaaa_" + "a" * 43):
        headers = {"Authorization": shown, "Sec-Fetch-Site": "cross-site"}
        assert_problem(await client.post("/train", headers=headers), 403, "cross_origin")


async def test_a_method_cannot_be_smuggled_in_by_a_header_or_a_parameter(client: httpx.AsyncClient) -> None:
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        answer = await client.get("/samples", headers={name: "DELETE"}, params={"_method": "DELETE", "everything": 1})
        assert "samples" in answer.json()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "text/plain"),
        (b"", "application/x-www-form-urlencoded"),
        (b'{"recipe":"starter"}', "text/plain"),
        (b'{"recipe":"starter"}', "text/plain;charset=UTF-8"),
        (b"recipe=starter", "application/x-www-form-urlencoded"),
        (
            b'--x\r\nContent-Disposition: form-data; name="recipe"\r\n\r\nstarter\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b'{"recipe":"starter"}', ""),
        (b'{"recipe":"starter"}', "application/jsonp"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/train"),
        ("PUT", "/models/mnist/aliases/production"),
        ("POST", "/models/mnist/aliases/production/rollback"),
    ],
)
async def test_a_form_or_plain_text_never_counts_as_defaults(
    method: str, path: str, content: bytes, kind: str, client: httpx.AsyncClient
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await client.request(method, path, content=content, headers=headers)
    assert_problem(answer, 415, "unsupported_media_type")
    assert "application/json" in answer.json()["detail"]


async def test_json_by_any_of_its_names_and_no_body_at_all_are_taken(client: httpx.AsyncClient) -> None:
    for kind in (
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/merge-patch+json",
    ):
        answer = await client.post("/train", content=b'{"recipe":"nobody"}', headers={"Content-Type": kind})
        assert answer.json()["field"] == "recipe", kind
    answer = await client.post("/models/mnist/aliases/production/rollback")
    assert_problem(answer, 409, "conflict")


ATTACK = """<!DOCTYPE html><body><script>
const out = {};
const tries = {
  form: () => form("application/x-www-form-urlencoded"),
  multipart: () => form("multipart/form-data"),
  plain: () => form("text/plain"),
  empty: () => fetch(`${TARGET}/train`, {method: "POST", mode: "no-cors"}),
  text: () => fetch(`${TARGET}/train`, {method: "POST", mode: "no-cors", body: "{}"}),
  blob: () => fetch(`${TARGET}/train`, {method: "POST", mode: "no-cors", body: new Blob([])}),
  credentials: () => fetch(`${TARGET}/train`, {method: "POST", mode: "no-cors", credentials: "include"}),
  json: () => fetch(`${TARGET}/train`, {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"}),
  beacon: async () => navigator.sendBeacon(`${TARGET}/train`, ""),
  image: () => new Promise((onload) =>
    Object.assign(new Image(), {src: `${TARGET}/train?recipe=starter`, onerror: onload, onload})),
  rollback: () => fetch(`${TARGET}/models/mnist/aliases/production/rollback`, {method: "POST", mode: "no-cors"}),
  put: () => fetch(`${TARGET}/models/mnist/aliases/production`,
    {method: "PUT", headers: {"Content-Type": "application/json"}, body: '{"version": 1}'}),
  remove: () => fetch(`${TARGET}/samples?everything=true`, {method: "DELETE"}),
  sample: () => { const data = new FormData(); data.append("file", PICTURE, "x.png"); data.append("label", "3");
                  return fetch(`${TARGET}/samples`, {method: "POST", mode: "no-cors", body: data}); },
  unload: () => fetch(`${TARGET}/v2/repository/models/mnist/unload`, {method: "POST", mode: "no-cors"}),
};
function form(enctype) {
  return new Promise((done) => {
    const frame = Object.assign(document.createElement("iframe"), {name: "f" + Math.random()});
    document.body.append(frame);
    const form = document.createElement("form");
    Object.assign(form, {method: "post", action: `${TARGET}/train`, enctype, target: frame.name});
    document.body.append(form);
    frame.addEventListener("load", done);
    setTimeout(done, 3000);
    form.submit();
  });
}
let PICTURE;
window.attack = async (picture) => {
  PICTURE = new Blob([Uint8Array.from(picture)], {type: "image/png"});
  for (const [name, go] of Object.entries(tries)) {
    try { await go(); out[name] = "sent"; } catch (error) { out[name] = error.message; }
  }
  return out;
};
</script></body>"""


class _Attacker(BaseHTTPRequestHandler):
    page = ""

    def do_GET(self) -> None:
        body = self.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 -- as it is named there
        pass


@pytest.fixture
def attacker(server: Server) -> Iterator[int]:
    """A web server on another port, with a page that attacks the service."""
    kind = type("Attacker", (_Attacker,), {"page": ATTACK.replace("${TARGET}", server.url)})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield http.server_address[1]
        http.shutdown()
        thread.join()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_no_trick_of_a_page_in_a_browser_changes_anything(
    name: str, server: Server, attacker: int, browser: "Browser", digits: Dataset
) -> None:
    sample = {"pixels": digits.images[0].tolist(), "label": str(digits.labels[0])}
    server.http.post("/samples", json=sample)
    before = [server.http.get(path).json() for path in ("/train", "/samples", "/models/mnist")]
    page = browser.new_page()
    try:
        page.goto(f"http://{name}:{attacker}/")
        tried = page.evaluate("(picture) => attack(picture)", list(png(digits.images[1])))
        page.wait_for_load_state("networkidle")
    finally:
        page.close()
    assert len(tried) == 15
    assert tried["empty"] == "sent"
    shown = server.http.get("/metrics").text
    assert 'glyphserve_requests_total{code="403",method="POST"' in shown
    assert [server.http.get(path).json() for path in ("/train", "/samples", "/models/mnist")] == before

"""The page's versions in a real browser: what they misread, two of them beside each other, a trial."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests.service.browsing import DIGITS, accessible, draw
from tests.service.conftest import Server, half_trained, publish_many, wait_until

pytestmark = pytest.mark.browser
pytest.importorskip("playwright", reason="the page is tested where Playwright is installed (the extra `browser`)")

from playwright.sync_api import Page, expect  # noqa: E402 -- after the skip


def publish(server: Server, model: str = "mnist", **kind: int) -> int:
    from service.registry.registry import Registry
    from service.registry.store import open_store
    from service.settings import Settings

    store = open_store(Settings(home=server.home).store_location)
    return Registry(store).publish(model, *half_trained(**kind)).version


def evaluation(server: Server, version: int, **query: int) -> Any:
    def ask() -> httpx.Response | None:
        answer = httpx.get(f"{server.url}/models/mnist/versions/{version}/evaluation", params=query, timeout=60)
        return answer if answer.status_code == 200 else None  # 202 while it is worked out

    return wait_until(ask, "the evaluation").json()


def production(server: Server) -> Any:
    return httpx.get(f"{server.url}/models/mnist/aliases/production").json()


def open_models(page: Page) -> None:
    page.click("nav a[href='#models']")
    expect(page.locator("#evaluation-state")).to_contain_text("held-out images")


def test_a_version_shows_its_confusions_and_the_digits_that_it_misreads(page: Page, server: Server) -> None:
    open_models(page)
    told = evaluation(server, 1)
    expect(page.locator("#evaluation-state")).to_contain_text(f"{told['misread_count']:,} errors")
    cells = [
        int(text) for text in page.locator(".confusion td:not(:first-child), .confusion tbody td").all_inner_texts()
    ]
    assert cells == [count for row in told["confusion"] for count in row]
    expect(page.locator(".gallery li")).to_have_count(len(told["misread"]))
    first = told["misread"][0]
    expect(page.locator(".gallery li").first).to_contain_text(f"{first['label']} → {first['answer']}")
    assert page.locator(".gallery img").first.evaluate("image => image.naturalWidth") == 28
    accessible(page)


def test_versions_tell_their_size_and_where_they_come_from(page: Page, server: Server) -> None:
    open_models(page)
    size = httpx.get(f"{server.url}/models/mnist/versions/1").json()["weights_bytes"]
    row = page.locator("#versions tr").last
    expect(row).to_contain_text(f"{round(size / 1000)} kB" if size < 1e6 else f"{size / 1e6:.1f} MB")
    expect(row).to_contain_text("bundled")
    expect(page.locator("#alias")).to_contain_text("production points to version 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_two_versions_are_compared_on_the_same_drawing_and_the_same_digits(
    scheme: str, page: Page, server: Server
) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]  # one of two
    page.set_viewport_size({"width": 360, "height": 740})
    second = publish(server)
    draw(page, DIGITS["4"])
    open_models(page)
    page.click(f"button[aria-label='Evaluate version {second}']")
    expect(page.locator("#evaluation-state")).to_contain_text(f"version {second} has")
    page.select_option("#compared-version", "1")
    told = evaluation(server, second, against=1)["against"]
    titles = page.locator("#misclassified h4")
    expect(titles).to_have_count(3)
    expect(titles.nth(0)).to_contain_text(f"({told['this_alone']:,}")
    expect(titles.nth(1)).to_contain_text(f"({told['other_alone']:,}")
    expect(titles.nth(2)).to_contain_text(f"({told['both']:,}")
    expect(page.locator(".confusion")).to_have_count(2)
    expect(page.locator(".prediction")).to_have_count(2)
    expect(page.locator(".prediction").nth(1)).to_contain_text("version 1")
    expect(page.locator(".prediction .label").nth(1)).to_have_text("4")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    accessible(page)


def test_a_version_is_tried_and_the_trial_ends_after_questions(page: Page, server: Server) -> None:
    second = publish(server)
    open_models(page)
    page.select_option("#candidate-version", str(second))
    page.select_option("#candidate-mode", "canary")
    page.select_option("#candidate-share", "0.5")
    page.click("#candidate-form button")
    expect(page.locator("#confirm-text")).to_have_text(f"Let version {second} answer 50 % of the requests?")
    page.click("#confirm button[value=no]")
    assert production(server)["candidate"] is None
    page.click("#candidate-form button")
    page.click("#confirm button[value=yes]")
    expect(page.locator("#candidate-state")).to_contain_text(f"Version {second} answers 50 % of the requests")
    expect(page.locator("#versions .mark").first).to_have_text("canary 50 %")
    state = production(server)
    assert (state["candidate"], state["mode"], state["share"]) == (second, "canary", 0.5)
    for _ in range(20):
        httpx.post(f"{server.url}/predict", json={"pixels": [255] * 400 + [0] * 384}).raise_for_status()
    expect(page.locator("#candidate-state")).to_contain_text("both versions agree")
    accessible(page)
    page.click("#candidate-stop")
    page.click("#confirm button[value=yes]")
    expect(page.locator("#candidate-state")).to_have_text("There is no candidate.")
    assert production(server)["candidate"] is None


def test_a_trial_that_another_tab_ended_is_seen_to_have_ended(page: Page, server: Server) -> None:
    second = publish(server)
    body = {"version": 1, "candidate": second, "mode": "shadow"}
    httpx.put(f"{server.url}/models/mnist/aliases/production", json=body).raise_for_status()
    open_models(page)
    expect(page.locator("#candidate-state")).to_contain_text(f"Version {second} gets a copy of 100 % of the requests")
    httpx.put(f"{server.url}/models/mnist/aliases/production", json={"version": 1}).raise_for_status()
    expect(page.locator("#candidate-state")).to_have_text("There is no candidate.")


def test_a_version_without_held_out_digits_says_so(page: Page, server: Server) -> None:
    other = publish(server, labels=4)
    open_models(page)
    page.select_option("#evaluated-version", str(other))
    expect(page.locator("#evaluation-state")).to_have_text("This host has no held-out images for this version.")
    expect(page.locator("#misclassified li")).to_have_count(0)
    page.select_option("#evaluated-version", "1")
    expect(page.locator("#evaluation-state")).to_contain_text("held-out images")


def test_older_versions_are_shown_on_demand_and_the_serving_one_is_looked_at_all_the_same(
    page: Page, server: Server
) -> None:
    publish_many(Path(Settings(home=server.home).store_location), "crowd", range(1, 113))
    httpx.put(f"{server.url}/models/crowd/aliases/production", json={"version": 1}).raise_for_status()
    open_models(page)
    page.select_option("#model", "crowd")
    rows = page.locator("#versions tr")
    expect(rows).to_have_count(50)
    expect(rows.first).to_contain_text("112")
    expect(page.locator("#evaluated-version")).to_have_value("1")
    expect(page.locator("#evaluation-state")).to_contain_text("version 1 has")
    accessible(page)
    for count in (100, 112):
        page.click("#older")
        expect(rows).to_have_count(count)
    expect(page.locator("#older")).to_be_hidden()
    expect(rows.last.locator(".mark")).to_have_text("serves")
    page.select_option("#candidate-version", "2")
    page.click("button[aria-label='Evaluate version 3']")
    expect(page.locator("#evaluation-state")).to_contain_text("version 3 has")
    page.select_option("#model", "mnist")
    expect(page.locator("#older")).to_be_hidden()


def test_another_model_than_the_serving_one_can_be_looked_at(page: Page, server: Server) -> None:
    publish(server, "odd")
    open_models(page)
    expect(page.locator("#model")).to_have_value("mnist")
    page.select_option("#model", "odd")
    expect(page.locator("#versions tr")).to_have_count(1)
    expect(page.locator("#alias")).to_have_text("There is no alias.")
    expect(page.locator("#candidate-state")).to_have_text("A candidate requires a serving version.")
    expect(page.locator("#evaluation-state")).to_contain_text("version 1 has")
    accessible(page)
    page.click("button[aria-label='Promote version 1']")
    page.click("#confirm button[value=yes]")
    expect(page.locator("#alias")).to_contain_text("production points to version 1")
    expect(page.locator("#candidate-state")).to_have_text("There is no other version to roll out.")
    expect(page.locator("#serving")).to_have_text("mnist version 1 serves")

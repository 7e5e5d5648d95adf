"""The page in a real browser: what a person does with it, on a laptop and on a phone."""

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Server, half_trained, png, running_server
from training import Dataset

pytestmark = pytest.mark.browser
pytest.importorskip("playwright", reason="the page is tested where Playwright is installed (the extra `browser`)")

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # noqa: E402 -- after the skip
from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

Points = list[tuple[float, float]]


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Points:
    """Points on an ellipse; 0 is to the right, 90 below."""
    angles = [math.radians(start + (end - start) * step / 16) for step in range(17)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


DIGITS: dict[str, list[Points]] = {
    "0": [arc(0.5, 0.5, 0.17, 0.27, 270, 640)],
    "1": [[(0.5, 0.2), (0.5, 0.8)]],
    "2": [[*arc(0.5, 0.35, 0.17, 0.14, 190, 380), (0.34, 0.78), (0.7, 0.78)]],
    "3": [[*arc(0.48, 0.35, 0.16, 0.14, 200, 440), *arc(0.48, 0.64, 0.18, 0.16, 280, 520)]],
    "4": [[(0.38, 0.2), (0.32, 0.52), (0.68, 0.52)], [(0.62, 0.2), (0.6, 0.82)]],
    "5": [[(0.66, 0.22), (0.4, 0.22), (0.38, 0.46), *arc(0.48, 0.62, 0.18, 0.17, 250, 510)]],
    "6": [[(0.6, 0.18), (0.42, 0.4), *arc(0.5, 0.65, 0.15, 0.15, 200, 560)]],
    "7": [[(0.3, 0.25), (0.7, 0.25), (0.45, 0.8)]],
    "8": [arc(0.5, 0.35, 0.13, 0.14, 90, 450), arc(0.5, 0.64, 0.16, 0.15, 270, 630)],
    "9": [[*arc(0.5, 0.36, 0.14, 0.14, 0, 360), (0.62, 0.6), (0.58, 0.82)]],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """The page, opened; a complaint of the browser (script, console, policy) fails the test."""
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.set_default_timeout(30_000)
    page.goto(server.url)
    yield page
    page.close()
    # Chromium reports each 4xx as an error of the console; those that a test provokes are shown by the page.
    assert [complaint for complaint in complaints if "Failed to load resource" not in complaint] == []


def draw(page: Page, strokes: list[Points]) -> None:
    page.click("#clear")
    box = page.locator("#paper").bounding_box()
    assert box
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=3)
        page.mouse.up()


def accessible(page: Page) -> None:
    page.wait_for_timeout(300)  # transitions of colours would be taken for missing contrast
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("digit", DIGITS)
def test_a_drawn_digit_is_read(digit: str, page: Page) -> None:
    draw(page, DIGITS[digit])
    expect(page.locator("#label")).to_have_text(digit)
    expect(page.locator("#made")).to_contain_text("version")
    expect(page.locator("#saw")).to_be_visible()
    expect(page.locator("#decided")).to_be_visible()
    page.click("#clear")
    expect(page.locator("#label")).to_have_text("?")
    expect(page.locator("#confidence")).to_have_text("Nothing drawn yet.")


def test_a_picture_is_read_and_what_is_none_is_said_to_be_none(page: Page, tmp_path: Path, digits: Dataset) -> None:
    digit = tmp_path / "digit.png"
    digit.write_bytes(png(digits.images[0]))
    page.set_input_files("#picture", digit)
    expect(page.locator("#label")).to_have_text(digits.classes[digits.labels[0]])
    other = tmp_path / "letter.txt"
    other.write_text("hello")
    page.set_input_files("#picture", other)
    expect(page.locator("#notice")).to_contain_text("no picture of a kind that can be read")
    expect(page.locator("#label")).to_have_text("?")


def test_undo_takes_back_a_stroke(page: Page) -> None:
    draw(page, DIGITS["1"])
    expect(page.locator("#label")).to_have_text("1")
    page.click("#undo")
    expect(page.locator("#label")).to_have_text("?")


def test_a_correction_counts_for_the_next_training(page: Page) -> None:
    draw(page, DIGITS["7"])
    expect(page.locator("#label")).to_have_text("7")
    page.locator("#bars button").nth(1).click()
    expect(page.locator("#corrected")).to_contain_text("it is a 1")
    expect(page.locator("#waiting")).to_have_text("1 correction waits")
    page.click("#learn")
    expect(page.locator("#samples")).to_be_checked()


def test_a_training_is_started_and_watched_to_its_end(page: Page) -> None:
    page.click("nav a[href='#train']")
    expect(page.locator("#jobs")).not_to_contain_text("Loading", timeout=60_000)
    page.select_option("#recipe", "starter")
    page.fill("#epochs", "4")
    page.select_option("#promote", "never")
    page.click("#train-form button")
    expect(page.locator("#job-state")).to_contain_text("epoch 4 of 4", timeout=120_000)
    expect(page.locator("#job-state")).to_contain_text("succeeded", timeout=60_000)
    expect(page.locator("#losses polyline.training")).to_have_count(1)
    points = page.locator("#accuracies polyline.training").get_attribute("points")
    assert points is not None
    assert len(points.split()) == 4
    expect(page.locator("#jobs tr").first).to_contain_text("starter")
    accessible(page)


def test_an_impossible_training_is_refused_in_a_sentence(page: Page) -> None:
    page.click("nav a[href='#train']")
    expect(page.locator("#recipe option")).not_to_have_count(0)
    page.evaluate("document.getElementById('epochs').removeAttribute('min')")
    page.fill("#epochs", "-1")
    page.click("#train-form button")
    expect(page.locator("#notice")).to_contain_text("Epochs must be")


def test_a_version_is_promoted_and_rolled_back_after_a_question(page: Page, server: Server) -> None:
    from service.models.registry import Registry
    from service.models.store import open_store
    from service.settings import Settings

    second = Registry(open_store(Settings(home=server.home).store_location)).publish("mnist", *half_trained()).version
    draw(page, DIGITS["0"])
    page.click("nav a[href='#models']")
    expect(page.locator(f"#reads-{second}")).not_to_be_empty()
    before = httpx.get(f"{server.url}/health/ready").json()["version"]
    page.click(f"button[aria-label='Let version {second} serve']")
    page.click("#sure button[value=no]")
    assert httpx.get(f"{server.url}/health/ready").json()["version"] == before
    page.click(f"button[aria-label='Let version {second} serve']")
    page.click("#sure button[value=yes]")
    expect(page.locator("#serving")).to_have_text(f"mnist version {second} serves")
    page.click("#rollback")
    page.click("#sure button[value=yes]")
    expect(page.locator("#serving")).to_have_text(f"mnist version {before} serves")
    accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_a_phone(scheme: str, page: Page) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]  # one of two
    page.set_viewport_size({"width": 360, "height": 740})
    draw(page, DIGITS["3"])
    expect(page.locator("#label")).to_have_text("3")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    accessible(page)


def test_the_page_is_light_and_comes_from_here_alone(page: Page, server: Server) -> None:
    loaded: list[tuple[str, int]] = []
    page.on("response", lambda answer: loaded.append((answer.url, len(answer.body()))))
    page.reload(wait_until="networkidle")
    assert {url.startswith((server.url, "data:")) for url, _ in loaded} == {True}
    assert sum(size for _, size in loaded) < 150_000


def test_a_keyed_service_asks_for_a_key_and_keeps_it_in_memory(browser: Browser, tmp_path: Path) -> None:
    from service.keys import Keys
    from service.models.store import open_store
    from service.settings import Settings

    home = tmp_path / "home"
    _, key = Keys(open_store(Settings(home=home).store_location)).create(("admin",))
    with running_server(home, "--no-worker") as server:
        page = browser.new_page()
        page.goto(server.url)
        draw(page, DIGITS["1"])
        expect(page.locator("#notice")).to_contain_text("needs a key")
        page.fill("#key", key)
        page.click("#key-form button")
        draw(page, DIGITS["1"])
        expect(page.locator("#label")).to_have_text("1")
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        page.close()


def test_a_server_that_went_away_is_said_to_be_away(browser: Browser, tmp_path: Path) -> None:
    with running_server(tmp_path / "home", "--no-worker") as server:
        page = browser.new_page()
        page.goto(server.url)
        expect(page.locator("#serving")).to_contain_text("serves")
    draw(page, DIGITS["1"])
    expect(page.locator("#notice")).to_contain_text("cannot be reached")
    page.close()

"""A real browser on the page: Debian's Chromium, driven by Playwright; strokes as a hand draws them."""

import math
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.service.conftest import Server

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


@pytest.fixture(scope="module")  # no longer: while Playwright is there, no other event loop can run
def browser() -> Iterator["Browser"]:
    driver = pytest.importorskip("playwright.sync_api", reason="the page is tested with the extra `browser`")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    driver.expect.set_options(timeout=60_000)  # five seconds are short on a busy machine
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser", server: "Server") -> Iterator["Page"]:
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


def draw(page: "Page", strokes: list[Points]) -> None:
    page.click("#clear")
    box = page.locator("#canvas").bounding_box()
    assert box
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=3)
        page.mouse.up()


def accessible(page: "Page") -> None:
    from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

    page.wait_for_timeout(300)  # transitions of colours would be taken for missing contrast
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()

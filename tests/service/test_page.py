"""The page in a real browser: what a person does with it, on a laptop and on a phone."""

import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.service.browsing import DIGITS, accessible, draw
from tests.service.conftest import Server, half_trained, png, running_server
from training import Dataset

pytestmark = pytest.mark.browser
pytest.importorskip("playwright", reason="the page is tested where Playwright is installed (the extra `browser`)")

from playwright.sync_api import Browser, Page, Response, expect  # noqa: E402 -- after the skip


@pytest.mark.parametrize("digit", DIGITS)
def test_a_drawn_digit_is_read(digit: str, page: Page) -> None:
    draw(page, DIGITS[digit])
    expect(page.locator("#label")).to_have_text(digit)
    expect(page.locator("#source")).to_contain_text("version")
    expect(page.locator("#input")).to_be_visible()
    expect(page.locator("#saliency")).to_be_visible()
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
    expect(page.locator("#notice")).to_contain_text("format is not supported")
    expect(page.locator("#label")).to_have_text("?")


@pytest.mark.parametrize("kind", ["AVIF", "ICO", "animated GIF", "animated PNG", "animated WEBP"])
def test_what_the_browser_can_draw_and_the_service_cannot_read_is_read_as_drawn(
    kind: str, page: Page, server: Server, tmp_path: Path, digits: Dataset
) -> None:
    form = kind.removeprefix("animated ")
    first, second = (
        Image.fromarray(np.pad(255 - digits.images[row], 10, constant_values=255)).resize((192, 192)).convert("RGB")
        for row in (0, 1)
    )
    file = tmp_path / f"digit.{form.lower()}"
    frames = {"save_all": True, "append_images": [second], "duration": 60_000} if kind != form else {}
    first.save(file, form, **frames)
    refused = server.http.post("/predict", content=file.read_bytes(), headers={"Content-Type": "image/png"})
    assert refused.status_code in (415, 422), "the service reads it by itself now"
    page.set_input_files("#picture", file)
    label = digits.classes[digits.labels[0]]
    expect(page.locator("#label")).to_have_text(label)
    expect(page.locator("#notice")).to_be_hidden()
    page.locator("#bars button").nth(int(label)).click()  # what is learned from is what was read
    expect(page.locator("#feedback")).to_contain_text(f"it is a {label}")
    assert (
        server.http.delete("/samples?everything=true").json()["deleted"] == 1
    )  # other tests of this server count them


def test_undo_takes_back_a_stroke(page: Page) -> None:
    draw(page, DIGITS["1"])
    expect(page.locator("#label")).to_have_text("1")
    page.click("#undo")
    expect(page.locator("#label")).to_have_text("?")


def test_a_correction_counts_for_the_next_training(page: Page) -> None:
    draw(page, DIGITS["7"])
    expect(page.locator("#label")).to_have_text("7")
    page.locator("#bars button").nth(1).click()
    expect(page.locator("#feedback")).to_contain_text("it is a 1")
    expect(page.locator("#new-samples")).to_have_text("1 new correction")
    page.click("#learn")
    expect(page.locator("#samples")).to_be_checked()


def test_a_training_is_started_and_watched_to_its_end(page: Page) -> None:
    page.click("nav a[href='#train']")
    expect(page.locator("#jobs")).not_to_contain_text("Loading", timeout=60_000)
    page.select_option("#recipe", "starter")
    page.fill("#epochs", "4")
    page.select_option("#promote", "never")
    page.click("#train-form > button")
    expect(page.locator("#job-state")).to_contain_text("epoch 4 of 4", timeout=120_000)
    expect(page.locator("#job-state")).to_contain_text("succeeded", timeout=60_000)
    expect(page.locator("#losses polyline.training")).to_have_count(1)
    points = page.locator("#accuracies polyline.training").get_attribute("points")
    assert points is not None
    assert len(points.split()) == 4
    expect(page.locator("#jobs tr").first).to_contain_text("starter")
    accessible(page)


def test_the_curves_move_while_it_trains_until_it_is_cancelled(page: Page) -> None:
    page.click("nav a[href='#train']")
    page.select_option("#recipe", "starter")
    page.fill("#epochs", "1000")
    page.click("#train-form > button")
    curve = page.locator("#losses polyline.training")
    expect(page.locator("#job-state")).to_contain_text(re.compile(r"running, epoch \d+ of 1000.* left"), timeout=60_000)
    expect(curve).to_have_attribute("points", re.compile(r"^(\S+ ){2}"))
    before = len((curve.get_attribute("points") or "").split())
    expect(curve).to_have_attribute("points", re.compile(rf"^(\S+ ){{{before}}}"))
    page.click("#cancel")
    expect(page.locator("#job-state")).to_contain_text("cancelled", timeout=60_000)
    expect(page.locator("#cancel")).to_be_hidden()
    expect(page.locator("#jobs tr").first).to_contain_text("cancelled")


def test_an_impossible_training_is_refused_in_a_sentence(page: Page) -> None:
    page.click("nav a[href='#train']")
    expect(page.locator("#recipe option")).not_to_have_count(0)
    page.evaluate("document.getElementById('epochs').removeAttribute('min')")
    page.fill("#epochs", "-1")
    page.click("#train-form > button")
    expect(page.locator("#notice")).to_contain_text("Epochs must be")


def test_a_version_is_promoted_and_rolled_back_after_a_question(page: Page, server: Server) -> None:
    from service.registry.registry import Registry
    from service.registry.store import open_store
    from service.settings import Settings

    second = Registry(open_store(Settings(home=server.home).store_location)).publish("mnist", *half_trained()).version
    draw(page, DIGITS["0"])
    page.click("nav a[href='#models']")
    expect(page.locator(f"#prediction-{second}")).not_to_be_empty()
    before = httpx.get(f"{server.url}/health/ready").json()["version"]
    page.click(f"button[aria-label='Promote version {second}']")
    page.click("#confirm button[value=no]")
    assert httpx.get(f"{server.url}/health/ready").json()["version"] == before
    page.click(f"button[aria-label='Promote version {second}']")
    page.click("#confirm button[value=yes]")
    expect(page.locator("#serving")).to_have_text(f"mnist version {second} serves")
    page.click("#rollback")
    page.click("#confirm button[value=yes]")
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


def test_the_page_is_light_and_comes_from_here_alone(browser: Browser, server: Server) -> None:
    loaded: list[Response] = []
    page = browser.new_page()  # with nothing in its cache
    page.on("response", lambda answer: loaded.append(answer))
    page.goto(server.url, wait_until="networkidle")
    draw(page, DIGITS["2"])
    expect(page.locator("#label")).to_have_text("2")
    sizes = {}
    for answer in loaded:
        assert answer.url.startswith((server.url, "data:"))
        if not answer.url.startswith("data:"):
            taken = answer.request.sizes()
            sizes[answer.url] = taken["responseBodySize"] + taken["responseHeadersSize"]
    page.close()
    total = sum(sizes.values())
    print(f"{total:,} bytes in {len(sizes)} answers until the first digit is read")  # noqa: T201
    assert 30_000 < total < 150_000


def test_a_keyed_service_asks_for_a_key_and_keeps_it_in_memory(browser: Browser, tmp_path: Path) -> None:
    from service.api.keys import Keys
    from service.registry.store import open_store
    from service.settings import Settings

    home = tmp_path / "home"
    _, key = Keys(open_store(Settings(home=home).store_location)).create(("admin",))
    with running_server(home, "--no-worker") as server:
        page = browser.new_page()
        page.goto(server.url)
        draw(page, DIGITS["1"])
        expect(page.locator("#notice")).to_contain_text("requires a key")
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
    for part, table in (("train", "#jobs"), ("models", "#versions")):
        page.click(f"nav a[href='#{part}']")
        expect(page.locator(table)).to_contain_text("cannot be loaded")
        expect(page.locator("#notice")).to_contain_text("cannot be reached")
    accessible(page)
    page.close()


def test_an_answer_comes_while_the_stroke_is_still_drawn(page: Page) -> None:
    box = page.locator("#canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    for y in range(50, 240, 10):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + y)
    expect(page.locator("#label")).to_have_text("1")
    page.mouse.up()


def test_a_phone_offers_its_camera_and_its_large_photographs_are_read(
    browser: Browser, server: Server, tmp_path: Path, digits: Dataset
) -> None:
    import numpy as np
    from PIL import Image

    glyph = Image.fromarray(255 - digits.images[0]).resize((2400, 2400), Image.Resampling.BICUBIC)
    sheet = np.full((3000, 4000), 235, np.uint8)
    sheet[300:2700, 800:3200] = np.minimum(235, np.asarray(glyph))
    sheet -= np.random.default_rng(0).integers(0, 8, sheet.shape, np.uint8)
    photo = tmp_path / "photo.jpg"
    Image.fromarray(sheet).save(photo, quality=97)
    assert photo.stat().st_size > 1024**2  # more than the service takes
    with browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True) as phone:
        page = phone.new_page()
        page.goto(server.url)
        expect(page.get_by_text("Take a photo")).to_be_visible()
        assert page.get_attribute("#camera", "capture") == "environment"
        page.set_input_files("#camera", photo)
        expect(page.locator("#label")).to_have_text(digits.classes[digits.labels[0]])
        accessible(page)


def test_a_file_too_large_is_said_to_be_too_large(page: Page, tmp_path: Path) -> None:
    expect(page.get_by_text("Take a photo")).to_be_hidden()  # a laptop's camera is not asked for by a file chooser
    large = tmp_path / "large.png"
    large.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2 * 1024**2))
    page.set_input_files("#picture", large)
    expect(page.locator("#notice")).to_contain_text("The image is too large.")


def test_a_full_queue_is_said_to_be_full(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLYPHSERVE_MAX_QUEUED_JOBS", "1")
    with running_server(tmp_path / "home", "--no-worker") as server:
        page = browser.new_page()
        page.goto(f"{server.url}/#train")
        expect(page.locator("#jobs")).to_have_text("No jobs yet.")
        page.click("#train-form > button")
        expect(page.locator("#jobs")).to_contain_text("queued")
        page.click("#train-form > button")
        expect(page.locator("#notice")).to_contain_text("Too many jobs are queued")
        page.click("#cancel")
        expect(page.locator("#job-state")).to_contain_text("cancelled")
        page.close()


def test_what_a_training_has_learned_waits_no_longer(page: Page, server: Server) -> None:
    for number, (digit, taken) in enumerate([("3", 8), ("5", 6), ("0", 8)]):
        draw(page, DIGITS[digit])
        expect(page.locator("#label")).to_have_text(digit)
        page.locator("#bars button").nth(taken).click()
        expect(page.locator("#feedback")).to_contain_text(f"it is a {taken}", timeout=60_000)
        assert httpx.get(f"{server.url}/samples").json()["count"] > number
    expect(page.locator("#new-samples")).to_contain_text("new corrections")
    job = server.submit(recipe="starter", settings={"epochs": 1}, include_samples=True, promote="never")
    server.wait_for(job["id"], "succeeded")
    page.reload()
    expect(page.locator("#new-samples")).to_have_text("0 new corrections")
    page.click("nav a[href='#models']")
    page.click(f"#versions a:has-text('{job['id'][:12]}')")
    expect(page.locator("#job-state")).to_contain_text("succeeded, epoch 1 of 1")


def test_nothing_on_the_page_moves_by_itself(page: Page) -> None:
    draw(page, DIGITS["2"])
    expect(page.locator("#label")).to_have_text("2")
    for part in ("train", "models"):
        page.click(f"nav a[href='#{part}']")
        page.wait_for_load_state("networkidle")
    script = """() => new Promise(told => new PerformanceObserver(list => told(
        list.getEntries().filter(entry => !entry.hadRecentInput).reduce((sum, entry) => sum + entry.value, 0)
    )).observe({type: 'layout-shift', buffered: true}) ?? setTimeout(() => told(0), 500))"""
    shift = page.evaluate(script)
    print(f"layout shift: {shift:.4f}")  # noqa: T201
    assert shift < 0.1

"""The page in a real browser: what moves, what the buttons do, and that the console stays empty."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamer.config import load
from tests.servers.website import Site, live, running, wait_for

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STREAMS = 4


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline file that keeps what is drawn."""
    path = tmp_path_factory.mktemp("page") / "street.yaml"
    path.write_text("sources: {cam: 'synthetic:'}  # one\nmodel: tiny-yolo\n")
    return path


@pytest.fixture(scope="module")
def site(web: None, file: Path) -> Iterator[Site]:
    """Four live streams."""
    with running(*(live(seed, fps=8) for seed in range(STREAMS)), file=str(file)) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium without a screen."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install 'streamer[test]'"
    )
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt-get install chromium fonts-dejavu-core")
    with playwright.sync_playwright() as player:
        opened = player.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    """The page, open and playing; whatever the console says fails the test."""
    page = browser.new_page(viewport={"width": 1280, "height": 1100})
    said: list[str] = []
    page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"http://{site.base}/", wait_until="domcontentloaded")
    until(page, f"document.querySelectorAll('article').length === {STREAMS}")
    until(page, PLAYING)
    yield page
    page.close()
    assert said == []


PLAYING = """[...document.querySelectorAll('video')].every((video) =>
    video.getVideoPlaybackQuality().totalVideoFrames > 3)"""


def until(page: Any, holds: str) -> None:
    """Wait for an expression, evaluated from outside: the page's own policy forbids `eval`."""
    wait_for(lambda: page.evaluate(holds))


def picture(page: Any, selector: str) -> np.ndarray[Any, Any]:
    import cv2

    taken = np.frombuffer(page.locator(selector).first.screenshot(), np.uint8)
    return np.asarray(cv2.imdecode(taken, cv2.IMREAD_COLOR), int)


def frames(page: Any) -> list[int]:
    shown: list[int] = page.evaluate(
        "[...document.querySelectorAll('video')].map((v) => v.getVideoPlaybackQuality().totalVideoFrames)"
    )
    return shown


def wait_for_frames(page: Any, more: int) -> None:
    least = min(frames(page)) + more
    wait_for(lambda: min(frames(page)) > least)


def test_every_stream_moves_and_the_charts_grow(page: Any) -> None:
    screens = [f"article:nth-of-type({at + 1}) .screen" for at in range(STREAMS)]
    before, chart = [picture(page, screen) for screen in screens], picture(page, "#chart-fps")
    wait_for_frames(page, 12)
    until(page, "document.querySelectorAll('#stages tr').length > 5")
    for screen, then in zip(screens, before, strict=True):
        now = picture(page, screen)
        assert now.std() > 15, "a picture, not one colour"
        assert np.abs(now - then).mean() > 1, "it moved"
    assert np.abs(picture(page, "#chart-fps") - chart).any()
    assert page.locator("#events li").count() > 0


def test_a_reload_plays_again_and_costs_no_second_encoder(page: Any, site: Site) -> None:
    page.reload(wait_until="domcontentloaded")
    until(page, f"document.querySelectorAll('article').length === {STREAMS}")
    until(page, PLAYING)
    wait_for(lambda: all(stream["viewers"] == 1 for stream in site.ask("/streams").json()))
    assert all(stream["encoders"] == 1 for stream in site.ask("/streams").json())


def test_a_stream_is_added_paused_and_removed_by_the_page(page: Any, site: Site) -> None:
    page.fill("#add input[name=url]", live(11, fps=8))
    page.fill("#add input[name=name]", "extra")
    page.click("#add button")
    tile = page.locator("article[data-stream=extra]")
    tile.wait_for(timeout=30_000)
    until(page, PLAYING)
    tile.get_by_role("button", name="Pause").click()
    tile.locator(".dot.paused").wait_for(timeout=30_000)
    tile.get_by_role("button", name="Resume").click()
    tile.locator(".dot.playing").wait_for(timeout=30_000)
    page.once("dialog", lambda dialog: dialog.accept())
    tile.get_by_role("button", name="Remove").click()
    tile.wait_for(state="detached", timeout=30_000)
    assert "extra" not in site.pipeline.streams


def click(page: Any, tile: Any, *points: tuple[float, float]) -> None:
    """Click on places of a tile's picture, in shares of it."""
    box = tile.locator(".screen").bounding_box()
    for x, y in points:
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_what_is_drawn_on_the_picture_counts_and_is_kept(page: Any, site: Site, file: Path) -> None:
    tile = page.locator("article[data-stream=synthetic]")
    tile.get_by_role("button", name="Lines, zones").click()
    tile.get_by_role("button", name="New line").click()
    click(page, tile, (0.5, 0.95), (0.5, 0.05))
    tile.locator("input[name=name]").fill("middle")
    tile.get_by_role("button", name="Save").click()
    tile.get_by_role("button", name="middle").wait_for(timeout=30_000)
    tile.get_by_role("button", name="New zone").click()
    click(page, tile, (0.1, 0.1), (0.4, 0.1), (0.4, 0.9), (0.1, 0.9), (0.1, 0.1))
    box = tile.locator(".screen").bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.9 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.48 * box["width"], box["y"] + 0.8 * box["height"])
    page.mouse.up()
    tile.get_by_role("button", name="Save").click()
    tile.get_by_role("button", name="zone 1").wait_for(timeout=30_000)
    kept = load(file).analytics.plan()
    assert site.pipeline.desk is not None
    assert kept == site.pipeline.desk.plan
    (line,), (zone,) = kept.lines, kept.zones
    np.testing.assert_allclose(line.points, [[0.5, 0.95], [0.5, 0.05]], atol=0.01)
    np.testing.assert_allclose(zone.points, [[0.1, 0.1], [0.4, 0.1], [0.48, 0.8], [0.1, 0.9]], atol=0.01)
    assert line.streams == ("synthetic",)
    assert file.read_text().startswith("sources: {cam: 'synthetic:'}  # one\n")
    page.locator("#events li.event", has_text="line · middle").first.wait_for(timeout=60_000)
    page.locator("#events li.event", has_text="zone · zone 1").first.wait_for(timeout=60_000)
    tile.get_by_role("button", name="middle").click()
    tile.get_by_role("button", name="Delete").click()
    tile.get_by_role("button", name="middle").wait_for(state="detached", timeout=30_000)
    assert load(file).analytics.plan().lines == ()


def test_single_pictures_and_themes(page: Any) -> None:
    tile = page.locator("article").first
    tile.get_by_role("button", name="MJPEG").click()
    until(page, "document.querySelector('article img').naturalWidth === 320")
    tile.get_by_role("button", name="MJPEG").click()
    until(page, PLAYING)
    grounds, contrasts = set(), []
    for _ in range(3):
        page.click("#theme")
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        style = "getComputedStyle(document.getElementById('message'))"
        contrasts.append(contrast(*page.evaluate(f"[{style}.color, {style}.backgroundColor]")))
    assert len(grounds) == 2
    assert min(contrasts) > 4.5  # WCAG 2.2, 1.4.3


def contrast(*colours: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2.2 defines it."""
    found = []
    for colour in colours:
        parts = np.array([int(part) for part in re.findall(r"\d+", colour)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        found.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(found) + 0.05) / (min(found) + 0.05)


def test_a_phone_needs_no_sideways_scrolling_and_one_stream_has_a_screens_room(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.set_viewport_size({"width": 1440, "height": 900})
    page.evaluate(
        "[...document.querySelectorAll('article')].slice(1).forEach((tile) => { tile.hidden = true; })"
    )
    assert page.evaluate("document.querySelector('article').offsetWidth") > 900

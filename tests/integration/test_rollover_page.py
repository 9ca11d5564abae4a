"""A real rollover as the status page shows it: before, during, halted, after.

Screenshots are in dist/screenshots.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from retrofit.config.file import load
from scheduler.web import serving
from tests.browser import started
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.fronts import Handler
from tests.integration.harness import CloudHarness
from tests.integration.rollover_site import RolloverSite, meeting, rollover_site
from tests.integration.worker_site import eventually

SCREENSHOTS = Path(__file__).resolve().parents[2] / "dist/screenshots"


@pytest.fixture
def site(harness: CloudHarness, devcloud: Devcloud) -> Iterator[RolloverSite]:
    with rollover_site(devcloud, harness) as made:
        harness.toml += "[web]\nenabled = true\nport = 0\n"
        yield made


@pytest.fixture
def page(site: RolloverSite) -> Iterator[Page]:
    with serving(lambda: load(site.harness.config)) as url, started() as browser:
        assert url is not None
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(url)
        yield page


def shows(page: Page, name: str, *words: str) -> None:
    """Wait until the page shows all of these words, and take a picture of it."""

    def shown() -> bool:
        page.reload()
        text = page.locator("main").inner_text()
        return all(word in text for word in words)

    eventually(shown, f"{name}: {', '.join(words)}")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"rollover-{name}.png", full_page=True)


@pytest.mark.slow
def test_the_page_shows_a_rollover_from_its_beginning_to_its_end(
    site: RolloverSite, page: Page
) -> None:
    site.promote("20260801", days=5)
    site.build(2, 1)
    newer = site.promote("20260911")
    shows(page, "before", newer, "3 load balancers", "to fail over")

    goes_on = threading.Event()

    def slowly(_handler: Handler) -> bool:
        return not goes_on.wait(60)

    def failing(handler: Handler) -> bool:
        failed = site.load_balancers["single-1"]
        site.octavia.set_status(failed, provisioning_status="ERROR")
        handler.answer(202)
        return True

    meeting(site, {"single-0": slowly, "single-1": failing})
    words = ["-m", "retrofit", "--config", str(site.harness.config), "rollover", "--yes"]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL) as rolling:
        shows(page, "during", "Rollover", "1 moved, 2 to be moved")
        goes_on.set()
        assert rolling.wait(120) == 8
    shows(page, "halted", "is in ERROR", "retrofit rollover --resume")
    site.octavia.set_status(site.load_balancers["single-1"], provisioning_status="ACTIVE")
    site.roll("--resume")
    shows(page, "after", "3 moved, 0 to be moved")
    assert all(images == {newer} for images in site.images().values())

"""A real browser for the tests of what people see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = "/usr/bin/chromium"


@contextmanager
def started() -> Iterator[Browser]:
    """Run Chromium for the length of the block."""
    with sync_playwright() as playwright:
        # Everything runs as root here, where Chromium's sandbox does not.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()

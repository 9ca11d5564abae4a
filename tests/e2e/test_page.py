"""The status page in a real browser: readable in every state, and harmless whatever it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from retrofit.config import WebSettings
from retrofit.status import STATES, status_document
from scheduler.web.app import Application
from scheduler.web.server import served
from scheduler.web.snapshot import Rendering
from tests.browser import started
from tests.unit.status import scenes

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
RUN = "20261122T110000Z-a1b2c3"


@dataclass
class Shown:
    """Stands for the snapshot: tests say what is shown."""

    latest: Rendering


@dataclass(frozen=True, kw_only=True)
class Site:
    """A served page, and what the browser asked and complained of while looking at it."""

    url: str
    shown: Shown
    logs: Path

    def show(self, scene: scenes.Scene) -> None:
        self.shown.latest = Rendering.of(scenes.document(scene))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    settings = scenes.settings(root).model_copy(update={"web": WebSettings(enabled=True, port=0)})
    shown = Shown(Rendering.of(scenes.document(scenes.ok())))
    with served(Application(shown, lambda: settings), settings.web) as url:
        assert url is not None
        yield Site(url=url, shown=shown, logs=settings.paths.logs)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Open pages; at the end, nothing was complained of and nobody else was asked."""
    asked: list[str] = []
    complaints: list[str] = []
    contexts = []

    def open_it(path: str = "", *, size: str = "desktop", scheme: Any = "light") -> Page:
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        answer = page.goto(site.url + path)
        assert answer is not None
        assert answer.ok
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert complaints == []
    assert asked
    assert [url for url in asked if not url.startswith(site.url)] == []


def serious_faults(page: Page) -> list[str]:
    """What axe-core finds that keeps people from reading or using the page."""
    violations = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]}"
        for each in violations
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("state", scenes.STATES)
def test_every_state_is_readable_on_phone_and_desktop_in_light_and_dark(
    open_page: Any, site: Site, state: str
) -> None:
    site.show(scenes.STATES[state]())
    (target,) = site.shown.latest.document.targets
    page = open_page()
    faults = []
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme, ground in (("light", "rgb(251, 250, 248)"), ("dark", "rgb(21, 23, 26)")):
            page.emulate_media(color_scheme=scheme)
            assert page.locator("h2 .state").inner_text() == STATES[target.state]
            assert page.locator("p.summary").inner_text() == target.summary
            assert page.get_by_text(target.next_run.sentence).is_visible()
            if target.promoted:
                shown = page.locator("dd").get_by_text(target.promoted.id).first
                assert shown.is_visible()
            assert page.evaluate("document.scrollingElement.scrollWidth") <= width
            seen = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert seen == ground
            # Colours hang on the scheme, layout on the width: each is judged once.
            if (size, scheme) in {("phone", "dark"), ("desktop", "light")}:
                faults += serious_faults(page)
    assert faults == []


@pytest.mark.parametrize("size", SIZES)
def test_what_others_wrote_is_shown_as_text(open_page: Any, site: Site, size: str) -> None:
    site.show(scenes.hostile())
    page = open_page(size=size, scheme="dark" if size == "phone" else "light")
    page.locator("summary", has_text="to fail over").click()
    assert "owned" not in page.title()
    assert page.locator("script, img, iframe, object").count() == 0
    shown = page.locator("main").inner_text()
    evil = scenes.HOSTILE.replace("\u202e", r"\u202e").replace("\x07", r"\x07")
    assert shown.count(evil) >= 15
    assert "\u202e" not in shown
    assert page.evaluate("document.scrollingElement.scrollWidth") <= SIZES[size][0]
    assert serious_faults(page) == []


def test_all_fields_of_an_image_and_of_load_balancers_are_there(open_page: Any, site: Site) -> None:
    site.show(scenes.ok())
    page = open_page()
    page.locator("summary", has_text="to fail over").click()
    text = page.locator("main").inner_text()
    for expected in (
        "2.8.5-1ubuntu3.4", "14.0.1", "6.8.0-90-generic", "20261115", "by booting it",
        "9 amphorae of 6 load balancers", "web-frontend", "no outage", "published a new image",
        "build 5 min 12 s", "every hour",
    ):  # fmt: skip
        assert expected in text, expected


def test_steps_are_drawn_to_their_durations(open_page: Any, site: Site) -> None:
    site.show(scenes.ok())
    page = open_page()
    run = page.locator(".runs > li").filter(has_text="published a new image")
    build = run.locator("rect.step-build").bounding_box()["width"]
    verify = run.locator("rect.step-verify").bounding_box()["width"]
    assert build / verify == pytest.approx(312.5 / 187.0, rel=0.02)


def test_the_page_is_used_with_the_keyboard_alone(open_page: Any, site: Site) -> None:
    site.show(scenes.ok())
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.getAttribute('href') || document.activeElement.tagName"
            )
        )
        if "to fail over" in page.evaluate("document.activeElement.textContent").split("\n")[0]:
            page.keyboard.press("Enter")
            assert page.get_by_text("web-frontend").first.is_visible()
    assert f"/runs/{RUN}/" in reached
    assert {"SUMMARY", "/api/v2/status", "/metrics", "/healthz"} <= set(reached)


def test_screen_readers_find_landmarks_and_headings(open_page: Any, site: Site) -> None:
    site.show(scenes.ok())
    page = open_page()
    assert page.locator("html").get_attribute("lang") == "en"
    for role in ("banner", "main", "contentinfo", "article"):
        assert page.get_by_role(role).count() == 1, role
    assert page.get_by_role("heading", level=1).inner_text() == "The amphora image is current"
    names = page.get_by_role("region").evaluate_all("all => all.length")
    assert names >= 3


def test_several_targets_are_listed_and_led_to(open_page: Any, site: Site) -> None:
    settings = scenes.settings(None, "noble", "jammy")
    good, bad = scenes.ok(), scenes.failed()
    site.shown.latest = Rendering.of(
        status_document(
            settings,
            {"noble": good.cloud, "jammy": bad.cloud},
            {"noble": good.local, "jammy": bad.local},
            now=scenes.NOW,
            host="controller-1",
        )
    )
    page = open_page(size="phone")
    assert page.get_by_role("heading", level=1).inner_text() == "The last run of jammy failed"
    page.get_by_role("navigation").get_by_role("link", name="jammy").click()
    assert page.url.endswith("#target-jammy")
    assert serious_faults(page) == []


def test_a_run_leads_to_its_logs(open_page: Any, site: Site) -> None:
    import json

    evil = scenes.HOSTILE
    directory = site.logs / RUN
    directory.mkdir(parents=True, exist_ok=True)
    check = {"name": evil, "outcome": "failed", "detail": evil, "seconds": 1.0}
    report = scenes.report("failed", verification={"checks": [check]}, reasons=[evil])
    (directory / "report.json").write_text(json.dumps(report.as_dict()))
    (directory / "build.log").write_text(f"$ disk-image-create\n{evil}\n")
    site.show(scenes.ok())
    page = open_page(size="phone", scheme="dark")
    page.locator(f"a[href='/runs/{RUN}/']").click()
    assert serious_faults(page) == []
    assert page.locator("main").inner_text().count("<script>") >= 3
    assert page.evaluate("document.scrollingElement.scrollWidth") <= SIZES["phone"][0]
    page.get_by_role("link", name="build.log").click()
    assert page.evaluate("document.contentType") == "text/plain"
    assert evil.replace("\x07", "") in page.locator("body").inner_text().replace("\x07", "")

"""What releases of Octavia write, and what HAProxy refuses of it."""

from __future__ import annotations

import pytest

from retrofit.control_plane.configurations import questions, texts_of
from retrofit.control_plane.language import FORMS, HTTPCHK_HEADERS, KIND, KINDS, USE_HTX, Form
from retrofit.control_plane.releases import from_api, stated


@pytest.mark.parametrize(
    ("form", "octavia", "written"),
    [
        (HTTPCHK_HEADERS, (12, 0, 0), True),
        (HTTPCHK_HEADERS, (16, 1, 0), True),
        (HTTPCHK_HEADERS, (17, 0, 0), False),
        (USE_HTX, (16, 0, 1), True),
        (USE_HTX, (16, 1, 0), False),
        (USE_HTX, (18, 0, 0), False),
    ],
)
def test_a_form_is_written_until_it_is_given_up(
    form: Form, octavia: tuple[int, ...], written: bool
) -> None:
    assert form.written_by(octavia) == written


@pytest.mark.parametrize(
    ("kind", "octavia", "haproxy", "form"),
    [
        ("http-monitor", (16, 1, 0), "3.0.11", "httpchk-headers"),
        ("http-monitor", (16, 1, 0), "2.8.5", "httpchk-headers"),
        ("http-monitor", (16, 1, 0), "2.6.12", None),
        ("http-monitor", (17, 0, 0), "3.0.11", None),
        ("http-monitor-without-version", (16, 1, 0), "3.2.26", None),
        ("prometheus", (16, 0, 1), "2.6.12", "use-htx"),
        ("prometheus", (16, 1, 0), "3.2.26", None),
        ("vrrp", (12, 0, 0), "3.2.26", None),
    ],
)
def test_a_kind_is_refused_for_the_form_that_it_depends_on(
    kind: str, octavia: tuple[int, ...], haproxy: str, form: str | None
) -> None:
    refusal = KIND[kind].refusal(octavia, haproxy)
    assert (None if refusal is None else refusal.name) == form


def test_a_question_is_named_by_program_release_and_kind() -> None:
    names = [each.name for each in questions(stated("2025.1", "octavia.release"))]
    assert "haproxy-takes-2025.1-http-monitor" in names
    assert "keepalived-takes-2025.1-udp" in names
    assert len(names) == len(set(names)) == len(KINDS)


def test_a_release_whose_form_changed_is_asked_in_both_forms() -> None:
    asked = {each.kind.name: each for each in questions(stated("2025.1", "octavia.release"))}
    assert len(asked["prometheus"].texts) == 2
    assert len(asked["http-monitor"].texts) == 1


def test_an_interval_asks_for_each_release_and_each_text_once() -> None:
    asked = questions(from_api(["v2.30"]))
    assert len(asked) == 4 * len(KINDS)
    assert len(texts_of(asked)) < 2 * len(KINDS)


def test_every_form_names_its_source_and_belongs_to_a_kind() -> None:
    assert all(form.source for form in FORMS)
    assert {form.name for kind in KINDS for form in kind.forms} == {form.name for form in FORMS}

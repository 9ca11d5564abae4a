"""Which release of Octavia a cloud has."""

from __future__ import annotations

import pytest

from retrofit.control_plane.releases import RELEASES, from_api, stated


def names(text: str) -> list[str]:
    return [each.name for each in stated(text, "octavia.release").releases]


@pytest.mark.parametrize(
    ("text", "release"),
    [("2023.1", "2023.1"), ("2025.1", "2025.1"), ("2026.2", "2026.2"), ("16.0.1", "2025.1")],
)
def test_a_name_or_a_version_stands_for_a_release(text: str, release: str) -> None:
    assert names(text) == [release]


def test_a_version_is_kept_and_a_name_leaves_both_ends_of_its_release_possible() -> None:
    release = RELEASES[4]
    assert stated("16.0.1", "").versions(release) == ((16, 0, 1),)
    assert stated("2025.1", "").versions(release) == ((16, 0, 0), (16, 1, 0))


@pytest.mark.parametrize(("text", "nearest"), [("2027.1", "2026.2"), ("11.0.3", "2023.1")])
def test_an_unknown_release_counts_as_its_nearest_and_is_named(text: str, nearest: str) -> None:
    plane = stated(text, "octavia.release")
    assert plane.span == nearest
    assert text in plane.how


@pytest.mark.parametrize("text", ["", "caracal", "2025.3", "2025.1; rm", "16"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a release"):
        stated(text, "octavia.release")


@pytest.mark.parametrize(
    ("newest", "span"),
    [(26, "2023.1"), (27, "2023.2"), (28, "2024.1 to 2024.2"), (30, "2025.1 to 2026.2")],
)
def test_the_api_shows_an_interval(newest: int, span: str) -> None:
    plane = from_api([f"v2.{number}" for number in range(newest + 1)])
    assert str(plane) == f"{span} (GET / of the API: v2.{newest})"


def test_an_api_that_is_newer_than_all_known_ones_counts_as_the_newest() -> None:
    assert from_api(["v2.31"]).span == "2026.2"


def test_an_answer_without_versions_leaves_the_release_unknown() -> None:
    assert from_api(["v1", "v3.1"]).span == "unknown"

"""Images that others delete while they are listed neither end the listing nor shorten it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from glanceclient import exc as glance_exc

from retrofit.cloud import listing
from retrofit.cloud.listing import listed


class Pages:
    """A Glance of images by their ids, one a page, that others delete between two requests."""

    def __init__(self, *ids: str, deleted: dict[int, str] | None = None) -> None:
        self.ids = list(ids)
        self.deleted = deleted or {}
        self.requests = 0
        self.http_client = SimpleNamespace(get=self._get)

    def _get(self, url: str) -> tuple[None, dict[str, Any]]:
        if (gone := self.deleted.get(self.requests)) is not None:
            self.ids.remove(gone)
        self.requests += 1
        if not self.ids:
            raise glance_exc.HTTPNotFound
        marker = parse_qs(urlsplit(url).query).get("marker", [""])[0]
        if marker and marker not in self.ids:
            raise glance_exc.HTTPBadRequest(f"Invalid marker {marker}")
        after = self.ids[self.ids.index(marker) + 1 :] if marker else self.ids
        return None, {"images": [{"id": each} for each in after[:1]], "next": "yes"}


def found(pages: Pages) -> list[str]:
    return [each["id"] for each in listed(pages, {})]


def test_all_pages_are_read() -> None:
    assert found(Pages("a", "b", "c")) == ["a", "b", "c"]


def test_it_begins_again_where_the_last_image_of_a_page_was_deleted() -> None:
    assert found(Pages("a", "b", "c", deleted={2: "b"})) == ["a", "c"]
    # Twice in a row, and no image is listed twice.
    assert found(Pages("a", "b", "c", "d", deleted={1: "a", 3: "b"})) == ["c", "d"]


def test_an_image_deleted_elsewhere_changes_nothing() -> None:
    assert found(Pages("a", "b", "c", deleted={2: "a"})) == ["a", "b", "c"]


def test_it_ends_where_images_are_deleted_again_and_again() -> None:
    ids = [str(number) for number in range(20)]
    deleted = {2 * number + 1: str(number) for number in range(20)}
    with pytest.raises(glance_exc.HTTPBadRequest):
        found(Pages(*ids, deleted=deleted))
    assert listing.AGAIN == 5


def test_a_refusal_of_the_first_page_is_no_deletion() -> None:
    with pytest.raises(glance_exc.HTTPNotFound):
        found(Pages())

"""Glance's listing of images, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from glanceclient import exc as glance_exc

PAGE = 200
AGAIN = 5
"""Restarts of a listing when the last image of a page is deleted before the next one is read."""


def listed(client: Any, filters: Mapping[str, Any]) -> list[Any]:
    """Return all images that match, as JSON.

    Of Glance's `next` link only its presence counts: a front may have made it absolute, with a
    name that is known behind it only, or given it a prefix.
    """
    for attempt in range(AGAIN + 1):
        try:
            return [*_pages(client, filters)]
        except _MarkerGoneError as error:
            if attempt == AGAIN:
                raise error.refusal from None
    raise AssertionError  # unreachable: the last attempt returns or raises


def newest(client: Any, filters: Mapping[str, Any]) -> Any | None:
    """Return the matching image that was created last; None without any."""
    query = {**filters, "sort": "created_at:desc", "limit": 1}
    return next(iter(_page(client, query)["images"]), None)


class _MarkerGoneError(Exception):
    """The image after which a page begins was deleted."""

    def __init__(self, refusal: Exception) -> None:
        super().__init__()
        self.refusal = refusal


def _pages(client: Any, filters: Mapping[str, Any]) -> Iterator[Any]:
    marker: dict[str, str] = {}
    while True:
        try:
            page = _page(client, {**filters, "limit": PAGE, **marker})
        except (glance_exc.HTTPBadRequest, glance_exc.HTTPNotFound) as error:
            if marker:
                raise _MarkerGoneError(error) from error
            raise
        images = page["images"]
        yield from images
        if not images or not page.get("next"):
            return
        marker = {"marker": images[-1]["id"]}


def _page(client: Any, query: Mapping[str, Any]) -> Any:
    _, body = client.http_client.get(f"/v2/images?{urlencode(query, doseq=True)}")
    return body

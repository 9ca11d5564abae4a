"""The index files of a mirror, as untrusted input: entries that make no sense are refused.

A signature proves who wrote an index, not that it is harmless: paths, sizes and names become
addresses, disk space and text on terminals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import quote, urljoin

from simplestreams import util

from retrofit.errors import SourceError
from retrofit.model import DISK_ITEMS, Listing, Product, Rejection, StreamItem

LARGEST_ITEM = 64 << 30
"""Bytes; a cloud image has less than one hundredth of this."""
MOST_PRODUCT_FILES = 64
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+~_-]{0,63}")
# The synchroniser has image properties for these, and leaves them out of simplestreams_metadata.
NOT_METADATA = frozenset({"product_name", "version_name", "item_name", "path"})
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


@dataclass(frozen=True, kw_only=True)
class ProductFile:
    """A file of products, as the index lists it."""

    content_id: str
    path: str


def product_files(content: bytes, *, name: str) -> list[ProductFile]:
    """Return the files of an index that describe Ubuntu images to download.

    Raises SourceError when `content` is not an index.
    """
    tree = _tree(content, "index:1.0", name=name)
    found = []
    try:
        for content_id, entry in tree["index"].items():
            listed = entry.get("products")
            ubuntu = listed is None or any(Product.parse(str(each)) for each in listed)
            of_images = entry.get("datatype") == "image-downloads"
            if entry.get("format") == "products:1.0" and of_images and ubuntu:
                found.append(ProductFile(content_id=content_id, path=_path(entry["path"])))
    except MALFORMED as error:
        raise _malformed(name, error) from error
    if len(found) > MOST_PRODUCT_FILES:
        raise SourceError(
            f"{name} names {len(found)} files of products, at most {MOST_PRODUCT_FILES} are read",
            hint="mirror fewer streams",
        )
    return found


def read_products(content: bytes, *, content_id: str, base: str, name: str) -> Listing:
    """Return the items of a file of products; `base` is the mirror's address, ending in a slash.

    Raises SourceError when `content` is no such file, or one of another stream.
    """
    tree = _tree(content, "products:1.0", name=name)
    if tree.get("content_id") != content_id:
        raise SourceError(
            f"{name} describes {_plain(tree.get('content_id'))}, the index lists {content_id}",
            hint="the mirror is damaged or its files were swapped: mirror it again",
        )
    items, refused = [], []
    try:
        util.expand_tree(tree)
        for pedigree, flat in _walk(tree):
            product, version, item = pedigree
            if Product.parse(product) is None or flat.get("ftype", item) not in DISK_ITEMS:
                continue
            try:
                items.append(_item(pedigree, flat, content_id=content_id, base=base))
            except ValueError as error:
                subject = " ".join(_plain(part) for part in (product, version, item))
                refused.append(Rejection(subject=subject, reason=str(error)))
    except MALFORMED as error:
        raise _malformed(name, error) from error
    return Listing(where=base, items=tuple(items), refused=tuple(refused))


def merged(listings: Iterable[Listing], *, where: str, signed_by: str | None) -> Listing:
    """Merge the files of a mirror; an item that two of them list differently is refused."""
    known: dict[tuple[str, str, str], StreamItem] = {}
    contradicted: set[tuple[str, str, str]] = set()
    refused: list[Rejection] = []
    for listing in listings:
        refused.extend(listing.refused)
        for item in listing.items:
            key = (item.product, item.version, item.name)
            if known.setdefault(key, item).sha256 != item.sha256:
                contradicted.add(key)
    refused.extend(
        Rejection(subject=" ".join(key), reason="the mirror lists it twice, with different bytes")
        for key in sorted(contradicted)
    )
    items = tuple(item for key, item in known.items() if key not in contradicted)
    return Listing(where=where, items=items, signed_by=signed_by, refused=tuple(refused))


def _tree(content: bytes, form: str, *, name: str) -> dict[str, Any]:
    try:
        tree = json.loads(content, object_pairs_hook=_without_duplicates)
        is_form = tree.get("format") == form
    except MALFORMED as error:
        raise _malformed(name, error) from error
    if not is_form:
        raise SourceError(
            f"{name} is {_plain(tree.get('format'))}, expected {form}",
            hint="check mirror.url: it is the directory that has streams/v1 in it",
        )
    return dict(tree)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError("a key is given twice")
    return known


def _walk(tree: dict[str, Any]) -> Iterator[tuple[tuple[str, str, str], Mapping[str, str]]]:
    found: list[tuple[str, str, str]] = []
    util.walk_products(tree, cb_item=lambda _item, _tree, pedigree: found.append(pedigree))
    for pedigree in found:
        yield pedigree, util.products_exdata(tree, pedigree, include_top=False)


def _item(
    pedigree: tuple[str, str, str], flat: Mapping[str, str], *, content_id: str, base: str
) -> StreamItem:
    """Return the item of a flattened entry. Raises ValueError that names what is wrong."""
    product, version, name = pedigree
    if not VERSION.fullmatch(version):
        raise ValueError("its version is not a version")
    if not VERSION.fullmatch(name):
        raise ValueError("its name is not a name")
    path = _path(flat.get("path"))
    sha256, md5 = flat.get("sha256", "").lower(), flat.get("md5", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError("it has no sha256")
    size = flat.get("size", "")
    if not re.fullmatch(r"[0-9]{1,18}", size) or not 0 < int(size) <= LARGEST_ITEM:
        raise ValueError(f"its size is {_plain(size) or 'missing'}")
    return StreamItem(
        product=product,
        version=version,
        name=name,
        ftype=flat.get("ftype", name),
        url=address(base, path),
        path=path,
        size=int(size),
        sha256=sha256,
        md5=md5 if re.fullmatch(r"[0-9a-f]{32}", md5) else None,
        content_id=content_id,
        support_eol=_day(flat.get("support_eol")),
        metadata={key: value for key, value in flat.items() if key not in NOT_METADATA},
    )


def _path(path: object) -> str:
    """Return a path that stays below the mirror. Raises ValueError for any other."""
    if (
        not isinstance(path, str)
        or not path.isprintable()
        or any(char in path for char in "\\?#%")
        or any(part in {"", ".", ".."} for part in path.split("/"))
        or ":" in path.partition("/")[0]
    ):
        raise ValueError(f"its path {_plain(path)} leads out of the mirror")
    return path


def address(base: str, path: str) -> str:
    """Return the address of a path below a mirror."""
    return urljoin(base, quote(path, safe="/:~+,@="))


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None


def _plain(value: object) -> str:
    """Return untrusted text as one short printable line."""
    text = str(value)
    shown = "".join(char if char.isprintable() else "?" for char in text[:80])
    return shown + ("..." if len(text) > 80 else "")


def _malformed(name: str, error: Exception) -> SourceError:
    return SourceError(
        f"{name} is not a simplestreams file: {_plain(error) or type(error).__name__}",
        hint="check mirror.url, and whether the mirror is whole",
    )

"""A simplestreams mirror: the list of its items, and the bytes of one."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from retrofit.config import MirrorSettings
from retrofit.errors import SourceError, SourceVanishedError
from retrofit.model import Listing, StreamItem
from retrofit.simplestreams import index
from retrofit.simplestreams.cache import Cache, CacheEntry
from retrofit.simplestreams.download import MemorySink, PartialFile, receive
from retrofit.simplestreams.http import HttpTransport
from retrofit.simplestreams.signature import is_signed, signed_content
from retrofit.simplestreams.transport import DirectoryTransport, NotFoundError, Transport
from retrofit.system.digests import Digests
from retrofit.system.progress import Progress, silent

log = structlog.get_logger(__name__)

LARGEST_INDEX = 64 << 20
"""Bytes; Ubuntu's largest file of products has a fifth of this."""
INDEX = "streams/v1/index"
LONGEST_LISTING = 10
"""How many times `mirror.timeout` all files of a listing may take together: at the lowest rate that
is not a stall, they would take weeks."""


class Mirror:
    """The configured mirror; `cache` is a directory for downloaded items."""

    def __init__(self, settings: MirrorSettings, cache: Path) -> None:
        if settings.url is None:
            raise ValueError("no mirror is configured")
        self.base = settings.url.partition("/streams/v1/")[0].rstrip("/") + "/"
        self._settings = settings
        local = urlsplit(settings.url).scheme == "file"
        self._transport: Transport = DirectoryTransport() if local else HttpTransport(settings)
        self._cache = Cache(cache / "sources", limit=settings.cache_size << 30)

    def listing(self) -> Listing:
        """Return the items of the mirror, with every signature checked.

        Raises SourceError when the mirror is unreachable, malformed, or not signed by a key of the
        keyring (`mirror.allow_unsigned` accepts unsigned files).
        """
        until = time.monotonic() + LONGEST_LISTING * self._settings.timeout
        content, signer = self._index(until)
        listings, signers = [], {signer}
        for file in index.product_files(content, name=index.address(self.base, f"{INDEX}.sjson")):
            name = index.address(self.base, file.path)
            products, signer = self._document(file.path, until)
            signers.add(signer)
            listings.append(
                index.read_products(products, content_id=file.content_id, base=self.base, name=name)
            )
        # One unsigned file makes the whole listing unsigned.
        keys = sorted(key for key in signers if key is not None)
        signed_by = ", ".join(keys) if None not in signers else None
        return index.merged(listings, where=self.base, signed_by=signed_by)

    def fetch(self, item: StreamItem, path: Path, progress: Progress = silent) -> Digests:
        """Write an item to `path`, from the cache or the mirror, with its digest verified.

        Raises SourceVanishedError when the mirror no longer has the item, SourceError for
        everything else.
        """
        if isinstance(self._transport, DirectoryTransport):
            return self._download(item, path, path, progress)
        with self._cache.entry(item.sha256, progress) as entry:
            digests = _verified(item, entry)
            if digests is None:
                self._cache.prune(room_for=item.size)
                digests = self._download(item, entry.part, entry.whole, progress)
            else:
                log.info("source is in the cache", path=str(entry.whole))
            entry.provide(path)
        self._cache.prune()
        return digests

    def _download(
        self, item: StreamItem, part_path: Path, whole: Path, progress: Progress
    ) -> Digests:
        with PartialFile(
            part_path, url=item.url, size=item.size, digests=Digests(), progress=progress
        ) as part:
            while True:
                if part.offset < item.size:
                    self._receive(item, part)
                found = part.digests.hex()["sha256"]
                if found == item.sha256:
                    part.finish(whole)
                    return part.digests
                pieces = part.pieces
                part.discard()
                if pieces <= 1:
                    raise SourceError(
                        f"{item.url} does not have the digest that the index lists:"
                        f" sha256 is {found}, expected {item.sha256}",
                        hint="the mirror is damaged, is being updated, or was tampered with;"
                        " nothing of it was used",
                    )
                # The pieces may be of two files; one transfer of the whole file decides.
                log.warning("pieces do not match, downloading again", url=item.url)

    def _receive(self, item: StreamItem, part: PartialFile) -> None:
        try:
            receive(self._transport, item.url, part, retries=self._settings.retries)
        except NotFoundError as error:
            part.discard()
            raise SourceVanishedError(
                error.message, hint="the mirror may have replaced it; run again"
            ) from error

    def _index(self, until: float) -> tuple[bytes, str | None]:
        if self._settings.effective_keyring is None:
            return self._document(f"{INDEX}.json", until)
        try:
            return self._document(f"{INDEX}.sjson", until)
        except NotFoundError as error:
            if self._settings.allow_unsigned:
                return self._document(f"{INDEX}.json", until)
            raise SourceError(
                f"{self.base} has no signed index: {error.message}",
                hint="check mirror.url; mirror.allow_unsigned = true uses a mirror without"
                " signature",
            ) from error

    def _document(self, path: str, until: float) -> tuple[bytes, str | None]:
        """Return the signed content of a file and the fingerprint of the key; None if unsigned.

        `until` is a time of the monotonic clock. Raises SourceError.
        """
        url = index.address(self.base, path)
        sink = MemorySink(url, limit=LARGEST_INDEX)
        receive(self._transport, url, sink, retries=self._settings.retries, until=until)
        content, keyring = sink.content(), self._settings.effective_keyring
        if is_signed(content) and keyring is not None:
            return signed_content(content, keyring, name=url)
        if not self._settings.allow_unsigned:
            raise SourceError(
                f"{url} is not signed",
                hint="use the signed files of the mirror; mirror.allow_unsigned = true uses a"
                " mirror without signature",
            )
        return content, None


def _verified(item: StreamItem, entry: CacheEntry) -> Digests | None:
    """Return the digests of a cached item; None when it is not cached, or damaged."""
    if not entry.whole.is_file():
        return None
    digests = Digests()
    digests.update_from(entry.whole)
    if digests.hex()["sha256"] == item.sha256:
        return digests
    log.warning("cached source is damaged, downloading again", path=str(entry.whole))
    entry.whole.unlink()
    return None

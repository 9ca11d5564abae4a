"""A simplestreams mirror: what it offers, and the bytes of what was chosen."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from retrofit.config import MirrorSettings
from retrofit.digests import Digests
from retrofit.errors import SourceError, SourceVanishedError
from retrofit.model import Listing, StreamItem
from retrofit.progress import Progress, silent
from retrofit.streams import index
from retrofit.streams.cache import Cache, Place
from retrofit.streams.receive import Memory, Part, receive
from retrofit.streams.signature import is_signed, signed_content
from retrofit.streams.transport import Directory, NotThereError, Transport
from retrofit.streams.web import Web

log = structlog.get_logger(__name__)

LARGEST_INDEX = 64 << 20
"""Bytes; Ubuntu's largest file of products has a fifth of this."""
INDEX = "streams/v1/index"
LONGEST_LISTING = 10
"""How many times `mirror.timeout` all files of a listing may take together: by the lowest rate that
is no stall alone, they would take weeks."""


class Mirror:
    """The configured mirror; `cache` is a directory for what is downloaded from it."""

    def __init__(self, settings: MirrorSettings, cache: Path) -> None:
        if settings.url is None:
            raise ValueError("no mirror is configured")
        self.base = settings.url.partition("/streams/v1/")[0].rstrip("/") + "/"
        self._settings = settings
        local = urlsplit(settings.url).scheme == "file"
        self._transport: Transport = Directory() if local else Web(settings)
        self._cache = Cache(cache / "sources", limit=settings.cache_size << 30)

    def listing(self) -> Listing:
        """Read what the mirror offers, every signature on the way checked.

        Raises SourceError when it cannot be reached, makes no sense, or is not signed by a key of
        the keyring (unsigned is let pass where the settings say so).
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
        # What nobody vouches for in one place, nobody vouches for at all.
        keys = sorted(key for key in signers if key is not None)
        signed_by = ", ".join(keys) if None not in signers else None
        return index.merged(listings, where=self.base, signed_by=signed_by)

    def fetch(self, item: StreamItem, path: Path, progress: Progress = silent) -> Digests:
        """Write an item's bytes to `path`, once they are seen to be those that the index lists.

        The bytes come from the cache where it has them. Raises SourceVanishedError when the mirror
        has the item no more, SourceError for everything else.
        """
        if isinstance(self._transport, Directory):
            return self._download(item, path, path, progress)
        with self._cache.place(item.sha256, progress) as place:
            digests = _checked(item, place)
            if digests is None:
                self._cache.prune(room_for=item.size)
                digests = self._download(item, place.part, place.whole, progress)
            else:
                log.info("source taken from the cache", path=str(place.whole))
            place.hand_over(path)
        self._cache.prune()
        return digests

    def _download(
        self, item: StreamItem, part_path: Path, whole: Path, progress: Progress
    ) -> Digests:
        with Part(
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
                part.forget()
                if pieces <= 1:
                    raise SourceError(
                        f"the bytes of {item.url} are not those that the index lists:"
                        f" sha256 is {found}, expected {item.sha256}",
                        hint="the mirror is damaged, was changed just now, or somebody altered it;"
                        " nothing of it was used",
                    )
                # The pieces may be of two files; of one, it will be seen to be right or wrong.
                log.warning("pieces do not fit together, downloading anew", url=item.url)

    def _receive(self, item: StreamItem, part: Part) -> None:
        try:
            receive(self._transport, item.url, part, retries=self._settings.retries)
        except NotThereError as error:
            part.forget()
            raise SourceVanishedError(
                error.message, hint="the mirror may have replaced it; run again"
            ) from error

    def _index(self, until: float) -> tuple[bytes, str | None]:
        if self._settings.effective_keyring is None:
            return self._document(f"{INDEX}.json", until)
        try:
            return self._document(f"{INDEX}.sjson", until)
        except NotThereError as error:
            if self._settings.allow_unsigned:
                return self._document(f"{INDEX}.json", until)
            raise SourceError(
                f"{self.base} has no signed index: {error.message}",
                hint="check mirror.url; mirror.allow_unsigned = true uses a mirror without"
                " signature",
            ) from error

    def _document(self, path: str, until: float) -> tuple[bytes, str | None]:
        """Read a file and check its signature; returns what was signed, and by whom.

        `until` is when, by the monotonic clock, it must be there.
        """
        url = index.address(self.base, path)
        sink = Memory(url, limit=LARGEST_INDEX)
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


def _checked(item: StreamItem, place: Place) -> Digests | None:
    """Return the digests of an item in the cache; None where it is not, or is not itself."""
    if not place.whole.is_file():
        return None
    digests = Digests()
    digests.update_from(place.whole)
    if digests.hex()["sha256"] == item.sha256:
        return digests
    log.warning("cached source is damaged, downloading anew", path=str(place.whole))
    place.whole.unlink()
    return None

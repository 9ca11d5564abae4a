"""Reading a signed mirror over real sockets, on good days and on bad ones."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import MirrorSettings
from retrofit.errors import SourceError, SourceVanishedError
from retrofit.model import StreamItem
from retrofit.simplestreams import Mirror
from retrofit.system import retry
from tests.devcloud import faults
from tests.devcloud.certificates import Certificate, loopback_certificate
from tests.devcloud.faults import FaultyServer, serving
from tests.devcloud.files import make_tiny
from tests.devcloud.mirror import Mirror as MirrorTree

INDEX = "/streams/v1/index.sjson"
PRODUCTS = "/streams/v1/com.ubuntu.cloud:released:download.sjson"
DISK = "*.img"
PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> MirrorTree:
    """A mirror with two versions of noble, each a few MiB; never write to it."""
    directory = tmp_path_factory.mktemp("original")
    image = make_tiny(directory / "tiny.qcow2")
    # What qemu-img makes of nothing is too small to be cut in pieces.
    with image.open("ab") as file:
        file.write(bytes(range(256)) * (3 << 12))
    made = MirrorTree(root=directory / "mirror")
    made.publish(image, series="noble", serial="20260911")
    made.publish(image, series="noble", serial="20260918", touch=True)
    return made


@pytest.fixture
def tree(original: MirrorTree, tmp_path: Path) -> MirrorTree:
    """A copy of it to do harm to."""
    shutil.copytree(original.root, tmp_path / "mirror")
    key = original.root.with_name("mirror.key.asc")
    shutil.copy2(key, tmp_path / "mirror.key.asc")
    return MirrorTree(root=tmp_path / "mirror")


@pytest.fixture
def server(tree: MirrorTree) -> Iterator[FaultyServer]:
    with serving(tree.root) as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return loopback_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


class Reader:
    """A mirror as retrofit reads it, and where it puts things."""

    def __init__(self, url: str, keyring: Path, home: Path, **settings: Any) -> None:
        self.cache, self.got = home / "cache", home / "got"
        given = {"url": url, "keyring": keyring, "timeout": 5, "retries": 2, **settings}
        self.mirror = Mirror(MirrorSettings(**given), self.cache)

    def newest(self) -> StreamItem:
        return max(self.mirror.listing().items, key=lambda item: item.version)

    def fetch(self, item: StreamItem | None = None) -> None:
        """Fetch an item and see that its bytes are the right ones."""
        item = item or self.newest()
        self.got.unlink(missing_ok=True)
        digests = self.mirror.fetch(item, self.got)
        assert hashlib.sha256(self.got.read_bytes()).hexdigest() == item.sha256
        assert digests.hex()["sha512"] == hashlib.sha512(self.got.read_bytes()).hexdigest()

    def refusal(self, item: StreamItem | None = None) -> SourceError:
        """See that nothing is fetched, and say why; every refusal has its exit code and hint."""
        with pytest.raises(SourceError) as caught:
            self.fetch(item)
        assert caught.value.exit_code == 4
        assert caught.value.hint
        assert not self.got.exists()
        return caught.value

    def kept(self) -> list[str]:
        """What of downloads is in the cache, by the ends of names."""
        sources = self.cache / "sources"
        return sorted(path.suffix or "whole" for path in sources.glob("*") if path.stem != "lock")


@pytest.fixture
def reader(server: FaultyServer, tree: MirrorTree, tmp_path: Path) -> Reader:
    return Reader(server.url, tree.keyring, tmp_path)


def test_lists_the_disks_of_the_signed_index_and_says_who_signed(reader: Reader) -> None:
    listing = reader.mirror.listing()
    assert {(item.product, item.version, item.name) for item in listing.items} == {
        (PRODUCT, "20260911", "disk1.img"),
        (PRODUCT, "20260918", "disk1.img"),
    }
    assert listing.signed_by is not None
    assert len(listing.signed_by) == 40
    assert listing.refused == ()
    newest = reader.newest()
    assert str(newest.support_eol) == "2029-05-31"
    assert newest.metadata["pubname"] == "ubuntu-noble-24.04-amd64-server-20260918"


def test_fetches_over_http_and_keeps_what_was_fetched(reader: Reader, server: FaultyServer) -> None:
    reader.fetch()
    assert server.ranges(DISK) == [None]
    reader.fetch()
    assert server.ranges(DISK) == [None]
    assert reader.kept() == ["whole"]


def test_fetches_over_https_from_an_authority_of_its_own(
    tree: MirrorTree, certificate: Certificate, tmp_path: Path
) -> None:
    with serving(tree.root, certificate=certificate.server) as server:
        Reader(server.url, tree.keyring, tmp_path, ca_bundle=certificate.authority).fetch()
        said = Reader(server.url, tree.keyring, tmp_path / "other").refusal()
    assert "cannot trust https://127.0.0.1" in said.message
    assert "mirror.ca_bundle" in (said.hint or "")
    assert len([each for each in server.asked if each.path == INDEX]) == 1


def test_fetches_from_a_directory_without_a_second_copy(tree: MirrorTree, tmp_path: Path) -> None:
    reader = Reader(f"file://{tree.root}", tree.keyring, tmp_path)
    reader.fetch()
    assert not reader.cache.exists()


def test_takes_the_address_of_the_index_for_that_of_the_mirror(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path
) -> None:
    Reader(f"{server.url}streams/v1/index.sjson", tree.keyring, tmp_path).fetch()


def test_refuses_an_index_that_a_stranger_signed(
    server: FaultyServer, tmp_path: Path, original: MirrorTree
) -> None:
    stranger = MirrorTree(root=tmp_path / "stranger")
    stranger.publish(make_tiny(tmp_path / "x.qcow2"), series="noble", serial="20260911")
    said = Reader(server.url, stranger.keyring, tmp_path).refusal()
    assert "is signed by key" in said.message
    assert "mirror.keyring" in (said.hint or "")


def test_refuses_an_unsigned_mirror_unless_it_is_allowed(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path
) -> None:
    for signed in tree.root.glob("streams/v1/*.sjson"):
        signed.unlink()
    said = Reader(server.url, tree.keyring, tmp_path).refusal()
    assert "has no signed index" in said.message
    assert "mirror.allow_unsigned" in (said.hint or "")
    allowed = Reader(server.url, tree.keyring, tmp_path, allow_unsigned=True)
    assert allowed.mirror.listing().signed_by is None
    allowed.fetch()


def test_refuses_unsigned_products_behind_a_signed_index(reader: Reader, tree: MirrorTree) -> None:
    plain = tree.root / PRODUCTS.lstrip("/").replace(".sjson", ".json")
    shutil.copy(plain, tree.root / PRODUCTS.lstrip("/"))
    assert "is not signed" in reader.refusal().message


def test_what_is_allowed_to_be_unsigned_must_not_be_wrongly_signed(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path
) -> None:
    alter(tree, INDEX, b"released", b"re1eased")
    said = Reader(server.url, tree.keyring, tmp_path, allow_unsigned=True).refusal()
    assert "does not match its content" in said.message


@pytest.mark.parametrize("path", [INDEX, PRODUCTS])
def test_refuses_a_signature_over_other_content(
    reader: Reader, tree: MirrorTree, path: str
) -> None:
    alter(tree, path, b"com.ubuntu", b"com.abuntu")
    assert "does not match its content" in reader.refusal().message


def test_refuses_a_well_signed_file_in_the_place_of_another(
    reader: Reader, tree: MirrorTree, tmp_path: Path
) -> None:
    image = make_tiny(tmp_path / "daily.qcow2")
    tree.publish(image, series="noble", serial="20260919", stream="daily")
    daily = tree.root / PRODUCTS.lstrip("/").replace("released", "daily")
    shutil.copy(daily, tree.root / PRODUCTS.lstrip("/"))
    assert "the index lists com.ubuntu.cloud:released:download" in reader.refusal().message


@pytest.mark.parametrize("path", [INDEX, PRODUCTS])
@pytest.mark.parametrize("fault", [faults.short, faults.cut])
def test_refuses_a_truncated_index(
    reader: Reader, server: FaultyServer, path: str, fault: faults.Fault
) -> None:
    server.add(path, fault)
    assert reader.refusal().message


def test_refuses_an_endless_index(
    reader: Reader, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrofit.simplestreams.mirror.LARGEST_INDEX", 1 << 10)
    server.add(INDEX, faults.padded)
    assert "has more than" in reader.refusal().message


def test_text_around_the_signed_part_counts_for_nothing(reader: Reader, tree: MirrorTree) -> None:
    path = tree.root / INDEX.lstrip("/")
    path.write_bytes(b'{"format": "index:1.0", "index": {}}\n' + path.read_bytes() + b"\n}\n")
    reader.fetch()


@pytest.mark.parametrize("fault", [faults.corrupted, faults.instead(b"swapped" * 1000)])
def test_refuses_other_bytes_and_keeps_none_of_them(
    reader: Reader, server: FaultyServer, fault: faults.Fault
) -> None:
    server.add(DISK, fault)
    assert "the index" in reader.refusal().message
    assert reader.kept() == []


@pytest.mark.parametrize("fault", [faults.short, faults.padded])
def test_refuses_a_file_of_another_length(
    reader: Reader, server: FaultyServer, fault: faults.Fault
) -> None:
    server.add(DISK, fault)
    assert "of the index" in (said := reader.refusal().message) or "the index lists" in said
    assert reader.kept() == []


def test_refuses_an_item_that_was_replaced_after_the_index_was_read(
    reader: Reader, tree: MirrorTree
) -> None:
    item = reader.newest()
    disk = tree.root / item.path
    disk.write_bytes(disk.read_bytes()[::-1])
    assert item.sha256 in reader.refusal(item).message
    assert reader.kept() == []


def test_an_item_that_is_gone_has_vanished(reader: Reader, tree: MirrorTree) -> None:
    item = reader.newest()
    (tree.root / item.path).unlink()
    said = reader.refusal(item)
    assert isinstance(said, SourceVanishedError)
    assert "404" in said.message


def test_says_that_there_is_no_mirror_at_an_address(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path
) -> None:
    said = Reader(f"{server.url}nowhere/", tree.keyring, tmp_path).refusal()
    assert "404" in said.message


def test_follows_a_redirect(reader: Reader, server: FaultyServer, original: MirrorTree) -> None:
    with serving(original.root) as elsewhere:
        item = reader.newest()
        server.add(DISK, faults.redirect(elsewhere.url + item.path))
        reader.fetch(item)
        assert elsewhere.ranges(DISK) == [None]


def test_a_circle_of_redirects_ends(reader: Reader, server: FaultyServer) -> None:
    server.add(DISK, faults.redirect("/again.img"))
    assert "redirects more than 5 times" in reader.refusal().message


@pytest.mark.parametrize("to", ["http://127.0.0.1:1/x.img", "file:///etc/passwd"])
def test_refuses_to_be_led_out_of_https(
    tree: MirrorTree, certificate: Certificate, tmp_path: Path, to: str
) -> None:
    with serving(tree.root, certificate=certificate.server) as server:
        server.add(DISK, faults.redirect(to))
        reader = Reader(server.url, tree.keyring, tmp_path, ca_bundle=certificate.authority)
        assert "redirects from https to" in reader.refusal().message


def test_waits_as_long_as_the_mirror_asks_to(
    reader: Reader, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(retry, "sleep", waited.append)
    server.add(DISK, faults.status(503, retry_after="7"), times=2)
    reader.fetch()
    assert waited == [7.0, 7.0]


def test_does_not_wait_for_ever(reader: Reader, server: FaultyServer) -> None:
    server.add(DISK, faults.status(503, retry_after="86400"))
    said = reader.refusal()
    assert "503" in said.message
    assert "86400 seconds" in (said.hint or "")
    assert len(server.ranges(DISK)) == 1


def test_gives_up_after_so_many_attempts(reader: Reader, server: FaultyServer) -> None:
    server.add(DISK, faults.status(500))
    assert "tried 3 times: the mirror answers 500" in reader.refusal().message
    assert len(server.ranges(DISK)) == 3


def test_does_not_repeat_what_was_refused(reader: Reader, server: FaultyServer) -> None:
    server.add(DISK, faults.status(403))
    assert "the mirror answers 403" in reader.refusal().message
    assert len(server.ranges(DISK)) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [(faults.stall(20), "no data for 1 seconds"), (faults.trickle(20), "bytes in 1 seconds")],
)
def test_gives_up_on_a_mirror_that_stalls(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path, fault: faults.Fault, said: str
) -> None:
    reader = Reader(server.url, tree.keyring, tmp_path, timeout=1, retries=0)
    server.add(DISK, fault)
    assert said in reader.refusal().message


def directly(call: Callable[[], object]) -> object:
    return call()


def in_a_thread(call: Callable[[], object]) -> object:
    """As the status page asks: no signal reaches it there."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(call).result()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("somewhere", [directly, in_a_thread])
@pytest.mark.parametrize(
    "fault",
    [faults.drip(faults.HEAD, 30), faults.drip(faults.CHUNK, 30), faults.slow(8192, 30)],
    ids=["head", "chunk", "slow"],
)
def test_a_listing_ends_however_a_mirror_drips(
    server: FaultyServer,
    tree: MirrorTree,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: faults.Fault,
    somewhere: Callable[[Callable[[], object]], object],
) -> None:
    monkeypatch.setattr("retrofit.simplestreams.mirror.LONGEST_LISTING", 3)
    reader = Reader(server.url, tree.keyring, tmp_path, timeout=1, retries=20)
    server.add(PRODUCTS, fault)
    begun = time.monotonic()
    with pytest.raises(SourceError, match="cannot fetch"):
        somewhere(reader.mirror.listing)
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("beginning", [faults.HEAD, faults.CHUNK], ids=["head", "chunk"])
def test_a_download_ends_when_nothing_of_it_comes(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path, beginning: bytes
) -> None:
    reader = Reader(server.url, tree.keyring, tmp_path, timeout=1, retries=0)
    item = reader.newest()
    server.add(DISK, faults.drip(beginning, 30))
    begun = time.monotonic()
    assert "cannot fetch" in reader.refusal(item).message
    assert time.monotonic() - begun < 10


def test_a_mirror_out_of_reach_is_no_source(tree: MirrorTree, tmp_path: Path) -> None:
    with serving(tree.root) as server:
        pass
    said = Reader(server.url, tree.keyring, tmp_path).refusal()
    assert "Connection refused" in said.message


def test_goes_on_where_the_connection_broke(reader: Reader, server: FaultyServer) -> None:
    item = reader.newest()
    server.add(DISK, cut_with_the_tag_of(server, item), times=1)
    reader.fetch(item)
    assert server.ranges(DISK) == [None, f"bytes={item.size // 2}-"]


def test_goes_on_where_another_process_was_interrupted(
    reader: Reader, server: FaultyServer, tree: MirrorTree, tmp_path: Path
) -> None:
    item = reader.newest()
    server.add(DISK, cut_with_the_tag_of(server, item), times=1)
    server.add(DISK, faults.status(500), times=3)
    reader.refusal(item)
    assert reader.kept() == [".from", ".part"]
    another = Reader(server.url, tree.keyring, tmp_path)
    another.fetch(item)
    assert server.ranges(DISK)[-1] == f"bytes={item.size // 2}-"
    assert another.kept() == ["whole"]


def test_starts_over_when_the_file_is_another_one_now(reader: Reader, server: FaultyServer) -> None:
    # The first half has another tag than what the server says afterwards.
    server.add(DISK, faults.cut, times=1)
    item = reader.newest()
    reader.fetch(item)
    first, second = (each for each in server.asked if each.path.endswith(".img"))
    assert "range" not in first.headers
    assert (second.headers["range"], second.headers["if-range"]) == (
        f"bytes={item.size // 2}-",
        '"cut"',
    )


def test_pieces_that_do_not_fit_together_are_dropped_and_fetched_anew(
    reader: Reader, server: FaultyServer
) -> None:
    item = reader.newest()
    server.add(DISK, cut_with_the_tag_of(server, item, spoil=True), times=1)
    reader.fetch(item)
    assert server.ranges(DISK) == [None, f"bytes={item.size // 2}-", None]


def test_a_damaged_item_in_the_cache_is_not_used(reader: Reader, server: FaultyServer) -> None:
    item = reader.newest()
    reader.fetch(item)
    (reader.cache / "sources" / item.sha256).write_bytes(b"rot")
    reader.fetch(item)
    assert server.ranges(DISK) == [None, None]


def test_the_cache_keeps_what_was_used_last(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(server.url, tree.keyring, tmp_path)
    old, new = sorted(reader.mirror.listing().items, key=lambda item: item.version)
    monkeypatch.setattr(reader.mirror._cache, "_limit", max(old.size, new.size))
    for item in (old, new):
        reader.fetch(item)
    assert [path.name for path in (reader.cache / "sources").glob("[0-9a-f]*")] == [new.sha256]


def test_two_that_want_the_same_fetch_it_once(tree: MirrorTree, tmp_path: Path) -> None:
    with serving(tree.root, rate=8 << 20) as server:
        readers = [Reader(server.url, tree.keyring, tmp_path) for _ in range(2)]
        for number, reader in enumerate(readers):
            reader.got = tmp_path / f"got-{number}"
        with ThreadPoolExecutor() as pool:
            list(pool.map(Reader.fetch, readers))
        assert server.ranges(DISK) == [None]


def test_a_cache_of_nothing_keeps_nothing(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path
) -> None:
    reader = Reader(server.url, tree.keyring, tmp_path, cache_size=0)
    reader.fetch()
    assert reader.kept() == []


def test_goes_through_the_configured_proxy(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path
) -> None:
    with faults.proxy() as between:
        Reader(server.url, tree.keyring, tmp_path, proxy=between.url).fetch()
    assert between.asked[0].path == f"{server.url.rstrip('/')}{INDEX}"
    assert len(between.asked) == len(server.asked)


def test_goes_through_the_environments_proxy_to_https(
    tree: MirrorTree, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faults.proxy() as between, serving(tree.root, certificate=certificate.server) as server:
        monkeypatch.setenv("https_proxy", between.url)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        Reader(server.url, tree.keyring, tmp_path, ca_bundle=certificate.authority).fetch()
    assert {each.path for each in between.asked} == {server.url.split("/")[2]}


def test_a_proxy_out_of_reach_is_named(
    server: FaultyServer, tree: MirrorTree, tmp_path: Path
) -> None:
    with faults.proxy() as between:
        pass
    said = Reader(server.url, tree.keyring, tmp_path, proxy=between.url, retries=0).refusal()
    assert "the proxy: Connection refused" in said.message
    assert server.asked == []


def alter(tree: MirrorTree, path: str, old: bytes, new: bytes) -> None:
    file = tree.root / path.lstrip("/")
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))


def cut_with_the_tag_of(
    server: FaultyServer, item: StreamItem, *, spoil: bool = False
) -> faults.Fault:
    """Send half of a file with its true tag, spoilt or not, and hang up."""
    facts = (server.root / item.path).stat()
    tag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'

    def answer(handler: Any, good: bytes) -> None:
        half = good[: len(good) // 2]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(good)))
        handler.send_header("ETag", tag)
        handler.end_headers()
        handler.wfile.write(half[::-1] if spoil else half)
        handler.close_connection = True

    return answer

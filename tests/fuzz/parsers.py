"""Every parser of what others wrote, by name: what it may raise, and what holds of the rest."""

from __future__ import annotations

import atexit
import hashlib
import hmac
import io
import json
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import requests

from retrofit import octavia_conf, run_logs, state
from retrofit.chronicle import Chronicle
from retrofit.cloud.image import as_image
from retrofit.cloud.requesting import Requests
from retrofit.config import BuildSettings, Settings, SourceSettings, Target
from retrofit.dib.build_log import SHOWN, PhaseReader, lines_that_matter, redact
from retrofit.dib.plan import mkfs_options
from retrofit.disk import gpt
from retrofit.disk.ext4 import parse_superblock
from retrofit.disk.os_release import PLAIN, parse_os_release
from retrofit.disk.source_format import source_format
from retrofit.errors import CloudError, ConfigError, RetrofitError, SourceError
from retrofit.freshness import freshness
from retrofit.model import Image, Source, Usage, version_key
from retrofit.notify.outbox import Outbox
from retrofit.octavia import Octavia
from retrofit.overview import CloudFacts, LocalFacts, standing
from retrofit.patience import retry_after
from retrofit.plan import Inventory, promoted_image, rotate
from retrofit.plan.failed_build import FailedBuild
from retrofit.plan.pause import in_force, pauses_on
from retrofit.redaction import redacted
from retrofit.render.runs import show_history, show_run
from retrofit.settings_file import load
from retrofit.source import choose_source
from retrofit.streams.index import product_files, read_products
from retrofit.trust import Offer, vouched
from retrofit.verify.boot.agent import Answer
from retrofit.verify.boot.dhcp import reply_to
from retrofit.verify.boot.guest import agent_state, hopelessness, listening
from retrofit.verify.boot.heartbeat import decode
from retrofit.verify.boot.network import MANAGEMENT
from retrofit.verify.offline import RULES
from retrofit.verify.record import CheckFailedError, Record
from retrofit.verify.tree import Tree
from retrofit.visible import visible
from tests.fuzz.shapes import tolerant
from tests.unit import amphora_tree

Parse = Callable[[bytes], None]

PARSERS: dict[str, Parse] = {}
NOW = datetime(2026, 11, 22, tzinfo=UTC)
AMPHORA = {"retrofit_target": "default", "retrofit_promoted_at": "2026-11-21T00:00:00+00:00"}
MENDED = b"\x01"
"""First byte of a disk whose checksums are to be made right: no search finds those by itself.

Boot code begins there, which says nothing about partitions.
"""
DISK_SIZE = 24 << 20
"""Bytes of the disk that the seeds of `partition-table` are the beginning of."""


def parser(name: str) -> Callable[[Parse], Parse]:
    """Register what feeds a parser under the name of its directory in the corpus."""

    def register(parse: Parse) -> Parse:
        PARSERS[name] = parse
        return parse

    return register


@cache
def _scratch() -> Path:
    """Make a directory for the rest of this process: in memory, as inputs come by the thousand."""
    made = Path(tempfile.mkdtemp(prefix="retrofit-fuzz.", dir="/dev/shm"))
    atexit.register(shutil.rmtree, made)
    return made


def _file(name: str, data: bytes) -> Path:
    path = _scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def _text(data: bytes) -> str:
    """Return any text at all, lone surrogates included, as JSON can carry them."""
    return data.decode(errors="surrogateescape")


class _Disk(io.BytesIO):
    """The beginning of a disk that goes on with zeros."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return DISK_SIZE if whence == io.SEEK_END else super().seek(offset, whence)


@parser("partition-table")
def partition_table(data: bytes) -> None:
    beginning = data.ljust(128 * 1024, b"\0")
    disk = _with_checksums(beginning) if data.startswith(MENDED) else beginning

    def read() -> None:
        end = 0
        for partition in sorted(gpt._read(_Disk(disk)).partitions, key=lambda each: each.offset):
            assert partition.size > 0
            assert end <= partition.offset
            end = partition.end
        assert end <= DISK_SIZE

    tolerant(read, ValueError)


def _with_checksums(disk: bytes) -> bytes:
    """Mend both checksums of a table (UEFI 2.10, 5.3.2), as whoever wants to be believed does."""
    data = bytearray(disk)
    count, size = struct.unpack_from("<II", data, 512 + 80)
    struct.pack_into("<I", data, 512 + 88, zlib.crc32(data[1024 : 1024 + min(count * size, 63488)]))
    struct.pack_into("<I", data, 512 + 16, 0)
    (header,) = struct.unpack_from("<I", data, 512 + 12)
    struct.pack_into("<I", data, 512 + 16, zlib.crc32(data[512 : 512 + min(header, 512)]))
    return bytes(data)


@parser("superblock")
def superblock(data: bytes) -> None:
    def read() -> None:
        block = parse_superblock(_text(data))
        assert 0 <= block.used <= block.blocks * block.block_size
        assert block.available >= 0
        mkfs_options(block)

    tolerant(read, SourceError)


@parser("os-release")
def os_release(data: bytes) -> None:
    def read() -> None:
        found = parse_os_release(_text(data))
        assert all(PLAIN.fullmatch(each) for each in (found.id, found.version_id, found.codename))

    tolerant(read, SourceError)


@parser("image-format")
def image_format(data: bytes) -> None:
    def tell() -> None:
        assert source_format(_file("image", data)) in {"qcow2", "raw"}

    tolerant(tell, SourceError)


@parser("stream-index")
def stream_index(data: bytes) -> None:
    tolerant(lambda: product_files(data, name="x"), SourceError)


@parser("stream-products")
def stream_products(data: bytes) -> None:
    def read() -> None:
        for item in read_products(data, content_id="a", base="http://m/", name="x").items:
            assert item.url.startswith("http://m/")
            assert ".." not in item.path.split("/")

    tolerant(read, SourceError)


@cache
def _target(trust: str) -> Target:
    return Target.model_validate({"source": {"trust": trust}, "mirror": {}})


@parser("image-record")
def image_record(data: bytes) -> None:
    """A record of Glance's: whoever may write into our project decides about every property."""
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(raw, dict):
        return
    service = {"id": "1", "status": "active", "created_at": "2026-11-01T00:00:00Z", "owner": "us"}
    image = as_image({**_properties(raw), **service, "disk_format": "qcow2", "tags": ["x"]})
    version_key(image.property("version_name") or "")
    choice = choose_source([image], SourceSettings(), own_project="us")
    if choice.source is None:
        assert choice.refusal().message
    else:
        _source(choice.source)
    _pauses(image)
    newer = replace(image, id="2", created_at=NOW - timedelta(days=1), properties=AMPHORA)
    inventory = Inventory(images=(newer, image), own_project="us", now=NOW)
    promoted_image(inventory, _target("auto"))
    for usage in (Usage(), Usage(unknown="nobody was asked")):
        rotate(inventory, _target("auto"), promoted="2", usage=usage)


def _properties(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return what Glance would take for additional properties: texts."""
    return {key: value for key, value in raw.items() if isinstance(value, str)}


def _source(source: Source) -> None:
    for trust in ("auto", "digest", "owner"):
        tolerant(partial(vouched, source, _target(trust), Offer()), RetrofitError)
    freshness(source, None, None, SourceSettings(), NOW)


def _pauses(image: Image) -> None:
    holding = in_force(pauses_on([image]), NOW)
    assert holding is None or holding.phrase()


@cache
def _settings() -> Settings:
    return load(_file("defaults.toml", b""))


@parser("local-record")
def local_record(data: bytes) -> None:
    """A file of the state or log directory: written by us, and then whatever a disk makes of it."""
    record = state.read(_file("record.json", data)) or {}
    failed = FailedBuild.from_dict(record)
    if failed is not None:
        failed.holds_back(failed.inputs, BuildSettings(), NOW)
    Chronicle.from_dict(record)
    _file("targets/x/outbox/00000001-a.json", data)
    for letter in [letter for letters in Outbox(_scratch()).letters() for letter in letters]:
        assert letter.next_try is None or isinstance(letter.next_try < NOW, bool)
        letter.as_dict()
    _file(run_logs.REPORT, data)
    _file(run_logs.STORY, data)
    run_logs._target_of_idle(_scratch())
    past = run_logs.read_report(_scratch())
    if past is not None:
        local = LocalFacts(reports=(past,), chronicle=Chronicle.from_dict(record))
        with redirect_stdout(io.StringIO()):
            show_history([past], "table")
            show_run(_scratch(), "table")
        shown = standing(_settings().targets[0], _settings(), CloudFacts(), local, now=NOW)
        json.dumps(shown)
    assert all(isinstance(event, dict) for event in run_logs.events(_scratch()))


@parser("heartbeat")
def heartbeat(data: bytes) -> None:
    """A heartbeat, signed by whoever sends it: the amphora has the key."""
    payload = zlib.compress(data[1:], 1) if data[:1] == b"\x01" else data[1:]
    digest = hmac.new(b"key", payload, hashlib.sha256).hexdigest().encode()
    tolerant(lambda: decode(payload + digest, "key"), ValueError, TypeError)
    tolerant(lambda: decode(data, "key"), ValueError, TypeError)


@parser("dhcp")
def dhcp(data: bytes) -> None:
    reply = reply_to(data, MANAGEMENT)
    assert reply is None or len(reply) < 600


@parser("guest")
def guest(data: bytes) -> None:
    """What is said from inside of a machine under trial."""
    answer = Answer(status=200, body=data, tls_version="TLSv1.3")
    tolerant(answer.fields, CheckFailedError)
    tolerant(answer.entries, CheckFailedError)
    said = _text(data)
    now = agent_state(said)
    if now is not None:
        hopelessness(now, now)
    listening(said, 22)


@parser("build-log")
def build_log(data: bytes) -> None:
    """What the programs of an image chose to print while it was built."""
    file, told = _file("build.log", data), list[float]()
    reader = PhaseReader(lambda _doing, fraction: told.append(fraction), begin=0.0, end=1.0)
    for line in _text(data).splitlines():
        reader(line)
    assert all(0.0 <= fraction <= 1.0 for fraction in told)
    assert len(lines_that_matter(file)) <= SHOWN
    redact(file)
    if b"://" not in data:
        assert file.read_bytes() == data


@cache
def _amphora() -> Path:
    root = _scratch() / "amphora"
    amphora_tree.make(root)
    return root


TREE_FILES = (
    # A kernel is looked for by its name alone; os-release has a parser of its own, and no rule.
    *sorted(
        path
        for path in amphora_tree.FILES
        if not path.startswith("/boot/") and not path.endswith("/os-release")
    ),
    "/etc/apt/apt.conf",
    "/etc/cloud/cloud.cfg",
    "/etc/environment",
    "/etc/netplan/a.yaml",
    "/etc/network/interfaces",
    "/etc/systemd/system/amphora-agent.service.d/a.conf",
    f"{amphora_tree.SITE}/octavia-14.0.0.dist-info/METADATA",
    f"{amphora_tree.SITE}/octavia-14.0.0.dist-info/RECORD",
    f"/lib/modules/{amphora_tree.KERNEL}/modules.builtin",
    f"/lib/modules/{amphora_tree.KERNEL}/modules.dep",
)


class _Observed(Tree):
    """A tree that remembers what was read of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.seen: set[Path | None] = set()

    def _text(self, path: str, limit: int) -> str | None:
        self.seen.add(self.resolve(path))
        return super()._text(path, limit)


@cache
def _readers(path: Path) -> tuple[str, ...]:
    """Return the rules that read a file of the tree, which is there: the others need not run."""
    found = []
    for name, rule in RULES.items():
        tree = _Observed(_amphora())
        subject = replace(amphora_tree.subject(_amphora()), tree=tree)
        Record().attempt(name, partial(rule, subject))
        if path in tree.seen:
            found.append(name)
    assert found, f"nothing reads {path}"
    return tuple(found)


@parser("amphora-file")
def amphora_file(data: bytes) -> None:
    """One file of an image under examination; the first byte says which."""
    if not data:
        return
    path = _amphora() / TREE_FILES[data[0] % len(TREE_FILES)].lstrip("/")
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    readers = _readers(path)
    path.write_bytes(data[1:])
    try:
        subject, record = amphora_tree.subject(_amphora()), Record()
        for name in readers:
            record.attempt(name, partial(RULES[name], subject))
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
    assert [check.name for check in record.checks] == list(readers)
    for check in record.checks:
        json.dumps(check.detail).encode()


@parser("settings")
def settings(data: bytes) -> None:
    tolerant(lambda: load(_file("retrofit.toml", data)), ConfigError)


@parser("octavia-conf")
def octavia_configuration(data: bytes) -> None:
    target = Target.model_validate({"octavia": {"config_file": _file("octavia.conf", data)}})
    found = octavia_conf.wanted_by_octavia(target)
    if isinstance(found, octavia_conf.Wanted):
        octavia_conf.contradictions(found, tag="x", project_id="us")
    else:
        assert found


class _Answering:
    """What stands where Octavia should, and says the same to everything."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def get(self, _path: str, params: Mapping[str, str]) -> requests.Response:
        response = requests.Response()
        response.status_code = 200
        response._content = b"{}" if params else self._body
        return response


@cache
def _requests() -> Requests:
    return Requests(MagicMock(), retries=0, timeout=10)


@parser("octavia")
def octavia(data: bytes) -> None:
    api = Octavia(_Answering(data), _requests())
    for ask in (api.amphorae, api.load_balancers, api.image_tags):
        tolerant(ask, CloudError)


@parser("retry-after")
def wish_to_be_asked_later(data: bytes) -> None:
    wish = retry_after(data.decode("latin-1"))
    assert wish is None or wish >= 0


@parser("text")
def text(data: bytes) -> None:
    """Anything that ends up before a person's eyes."""
    said = _text(data)
    assert all(letter.isprintable() or letter in "\n\t" for letter in visible(redacted(said)))
    visible(said).encode()

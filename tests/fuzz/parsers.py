"""Every parser of what others wrote, by name: what it may raise, and what holds of the rest."""

from __future__ import annotations

import atexit
import base64
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

from retrofit.archive.answers import updates
from retrofit.archive.evidence import Evidence, EvidenceError, pack, unpack
from retrofit.archive.indexes import parse_index, read_date
from retrofit.archive.offer import ArchiveError
from retrofit.archive.sources import URI, parse
from retrofit.archive.status import NAME, installed_packages, with_held
from retrofit.build.build_log import SHOWN, PhaseReader, failure_lines, redact
from retrofit.build.command import mkfs_options
from retrofit.cli.render.runs import show_history, show_run
from retrofit.cloud import octavia_conf
from retrofit.cloud.image import as_image
from retrofit.cloud.octavia import Octavia
from retrofit.cloud.requests import Requests
from retrofit.config import BuildSettings, Settings, SourceSettings, Target
from retrofit.config.file import load
from retrofit.disk import gpt
from retrofit.disk.ext4 import parse_superblock
from retrofit.disk.image_format import source_format
from retrofit.disk.os_release import PLAIN, parse_os_release
from retrofit.errors import CloudError, ConfigError, RetrofitError, SourceError
from retrofit.model import Image, Source, Usage, version_key
from retrofit.notify.outbox import Outbox
from retrofit.operations.history import read_logs
from retrofit.plan import Identity, Inventory, promoted_image, rotate
from retrofit.plan.backoff import FailedBuild
from retrofit.plan.pause import in_force, pauses_on
from retrofit.redaction import redacted
from retrofit.runs import directory, events, store
from retrofit.runs.history import History
from retrofit.simplestreams.index import product_files, read_products
from retrofit.source.choose import choose_source
from retrofit.source.sync_age import sync_warnings
from retrofit.source.trust import MirrorState, establish_trust
from retrofit.status import CloudFacts, LocalFacts, target_status
from retrofit.system.certificate_file import NoCertificateError, read_certificates
from retrofit.system.escape import escaped
from retrofit.system.retry import retry_after
from retrofit.verify.boot.agent import Answer
from retrofit.verify.boot.client import UnsuitableCertificateError, client_of, judge
from retrofit.verify.boot.dhcp import reply_to
from retrofit.verify.boot.guest import agent_state, listening, why_agent_stays_silent
from retrofit.verify.boot.heartbeat import decode
from retrofit.verify.boot.network import MANAGEMENT
from retrofit.verify.checks import CheckFailedError, Record
from retrofit.verify.offline import RULES
from retrofit.verify.tree import Tree
from tests.fuzz.shapes import tolerant
from tests.unit import amphora_tree

Parse = Callable[[bytes], None]

PARSERS: dict[str, Parse] = {}
NOW = datetime(2026, 11, 22, tzinfo=UTC)
AMPHORA = {
    **Identity(project_id="us", target="default", tag="octavia-amphora").properties_of("2"),
    "retrofit_promoted_at": "2026-11-21T00:00:00+00:00",
}
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


@parser("archive-sources")
def archive_sources(data: bytes) -> None:
    for name in ("sources.list", "ubuntu.sources"):

        def read(name: str = name) -> None:
            for entry in parse(name, data):
                assert all(URI.fullmatch(uri) for uri in entry.uris)
                # What apt gets is read as it was meant: nothing of a value becomes a field.
                (again,) = parse("again.sources", entry.written().encode())
                assert replace(again, where=entry.where) == entry

        tolerant(read, ArchiveError)


@parser("archive-status")
def archive_status(data: bytes) -> None:
    def read() -> None:
        packages = list(installed_packages(data))
        names = {each.package for each in packages}
        assert all(NAME.fullmatch(name) for name in names)
        held = installed_packages(with_held(data, names))
        assert [each.package for each in held if each.held] == [each.package for each in packages]

    tolerant(read, ArchiveError)


@parser("archive-answers")
def archive_answers(data: bytes) -> None:
    text = _text(data)
    packages = installed_packages(
        b"".join(
            b"Package: %b\nStatus: install ok installed\nArchitecture: amd64\n\n" % name
            for name in (b"libssl3", b"haproxy")
        )
    )
    for update in updates(
        packages, architecture="amd64", simulation=text, policy=text, versions=text, held=()
    ):
        assert update.candidate
        assert update.candidate != update.installed


@parser("archive-index")
def archive_index(data: bytes) -> None:
    found = parse_index("h_dists_noble_InRelease", data)
    assert found.date is None or found.date.tzinfo is not None
    read_date(_text(data))


@parser("archive-evidence")
def archive_evidence(data: bytes) -> None:
    def read() -> None:
        evidence = unpack(data)
        assert isinstance(evidence, Evidence)
        assert unpack(pack(evidence)) == evidence

    tolerant(read, EvidenceError)


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
    Inventory(images=(image,), own_project="us", now=NOW).look_alikes(_target("auto"))
    # Whatever its properties are, an image is proven ours before more of it is read.
    named = Identity.of(_target("auto"), "us").properties_of(image.id)
    image = replace(image, owner="us", properties={**image.properties, **named})
    newer = replace(
        image, id="2", owner="us", created_at=NOW - timedelta(days=1), properties=AMPHORA
    )
    inventory = Inventory(images=(newer, image), own_project="us", now=NOW)
    promoted_image(inventory, _target("auto"))
    for usage in (Usage(), Usage(unknown="nobody was asked")):
        rotate(inventory, _target("auto"), promoted="2", usage=usage)


def _properties(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return what Glance would take for additional properties: texts."""
    return {key: value for key, value in raw.items() if isinstance(value, str)}


def _source(source: Source) -> None:
    for trust in ("auto", "digest", "owner"):
        tolerant(partial(establish_trust, source, _target(trust), MirrorState()), RetrofitError)
    sync_warnings(source, None, None, SourceSettings(), NOW)


def _pauses(image: Image) -> None:
    holding = in_force(pauses_on([image]), NOW)
    assert holding is None or holding.phrase()


@cache
def _settings() -> Settings:
    return load(_file("defaults.toml", b""))


@parser("local-record")
def local_record(data: bytes) -> None:
    """A file of the state or log directory: written by us, and then whatever a disk makes of it."""
    record = store.read(_file("record.json", data)) or {}
    failed = FailedBuild.from_dict(record)
    if failed is not None:
        failed.holds_back(failed.inputs, BuildSettings(), NOW)
    history = History.from_record(record)
    json.dumps(history.as_dict())
    json.dumps(History.from_0_1(record).as_dict())
    _file("targets/x/outbox/00000001-a.json", data)
    for queued in [each for queue in Outbox(_scratch()).queues() for each in queue.values()]:
        assert queued.next_try is None or isinstance(queued.next_try < NOW, bool)
        assert isinstance(queued.notification.at < NOW, bool)
        json.dumps(queued.as_dict())
    _file(directory.REPORT, data)
    _file(events.FILE, data)
    past = directory.read_report(_scratch())
    if past is not None:
        directory._is_idle(past)
        local = LocalFacts(reports=(past,), history=history)
        with redirect_stdout(io.StringIO()):
            show_history([past], "table")
            show_run(read_logs(_scratch()), "table")
        status = target_status(_settings().targets[0], _settings(), CloudFacts(), local, now=NOW)
        json.dumps(status.as_dict())
    assert all(isinstance(event, dict) for event in events.events(_scratch()))


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
        why_agent_stays_silent(now, now)
    listening(said, 22)


@parser("build-log")
def build_log(data: bytes) -> None:
    """What the programs of an image chose to print while it was built."""
    file, told = _file("build.log", data), list[float]()
    reader = PhaseReader(lambda _doing, fraction: told.append(fraction), begin=0.0, end=1.0)
    for line in _text(data).splitlines():
        reader(line)
    assert all(0.0 <= fraction <= 1.0 for fraction in told)
    assert len(failure_lines(file)) <= SHOWN
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


@parser("certificate-file")
def certificate_file(data: bytes) -> None:
    if b"-----" not in data:  # what stands in a block
        body = base64.encodebytes(data)
        data = b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"
    file = _file("client.pem", data)
    try:
        found = read_certificates(file)
    except NoCertificateError:
        return
    assert all("PRIVATE KEY" not in each for each in found)
    for shown in (found, ()):
        try:
            judge(client_of(found, shown))
        except UnsuitableCertificateError:
            continue


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
    for ask in (api.amphorae, api.load_balancers, api.flavors_and_tags):
        tolerant(ask, CloudError)


@parser("retry-after")
def wish_to_be_asked_later(data: bytes) -> None:
    wish = retry_after(data.decode("latin-1"))
    assert wish is None or wish >= 0


@parser("text")
def text(data: bytes) -> None:
    """Anything that ends up before a person's eyes."""
    said = _text(data)
    assert all(letter.isprintable() or letter in "\n\t" for letter in escaped(redacted(said)))
    escaped(said).encode()

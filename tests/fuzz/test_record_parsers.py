"""Parsers of what others say: properties, records, packages, packets, settings."""

from __future__ import annotations

import hashlib
import hmac
import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrofit.cli.render.form import add_row, structured
from retrofit.config import BuildSettings, SourceSettings
from retrofit.config.file import load
from retrofit.errors import ConfigError
from retrofit.model import Image, Product, version_key
from retrofit.plan.backoff import FailedBuild
from retrofit.plan.pause import PROPERTY, in_force, pauses_on
from retrofit.redaction import redacted, redacted_document
from retrofit.runs import directory, events, store
from retrofit.runs.history import History
from retrofit.simplestreams.index import product_files, read_products
from retrofit.source.choose import choose_source
from retrofit.system.escape import escaped
from retrofit.system.retry import retry_after
from retrofit.verify.boot.dhcp import reply_to
from retrofit.verify.boot.heartbeat import decode
from retrofit.verify.boot.network import MANAGEMENT
from retrofit.verify.packages import debian_packages, missing_modules, python_distributions
from retrofit.verify.tree import Tree
from retrofit.verify.units import parse
from tests.fuzz.parsers import dhcp, stream_index, stream_products
from tests.fuzz.shapes import JSON, LINES, TEXT, fast, few, mutated, tolerant

NOW = datetime(2026, 11, 22, tzinfo=UTC)
with_files = settings(fast, suppress_health_check=[HealthCheck.function_scoped_fixture])
few_with_files = settings(few, suppress_health_check=[HealthCheck.function_scoped_fixture])


def image(properties: dict[str, str]) -> Image:
    return Image(
        id="1", name=properties.get("name", "x"), status="active", owner="us", created_at=NOW,
        disk_format="qcow2", properties=properties,
    )  # fmt: skip


@fast
@given(TEXT)
def test_names_and_versions(text: str) -> None:
    Product.parse(text)
    Product.parse(f"com.ubuntu.cloud:server:{text}:amd64")
    assert version_key(text) <= version_key(text + "1") or not text


@fast
@given(
    st.dictionaries(
        st.sampled_from(
            ["product_name", "version_name", "item_name", "os_distro", "os_version", "architecture",
             "simplestreams_metadata", "hypervisor_type", "name"]
        ),
        TEXT | st.just("com.ubuntu.cloud:server:24.04:amd64") | st.just("ubuntu"),
    )
)  # fmt: skip
def test_an_image_of_any_properties_is_chosen_or_passed_over(properties: dict[str, str]) -> None:
    choice = choose_source([image(properties)], SourceSettings(), own_project="us")
    assert choice.source is not None or choice.refusal().message


@fast
@given(JSON | st.dictionaries(st.sampled_from(["reason", "since", "by", "until"]), JSON), TEXT)
def test_a_pause_that_nobody_can_read_still_holds(record: Any, text: str) -> None:
    for said in (json.dumps(record), text):
        pauses = pauses_on([image({PROPERTY: said})])
        holding = in_force(pauses, NOW)
        assert holding is None or holding.phrase()


FIELDS = [
    "inputs",
    "count",
    "last_at",
    "code",
    "message",
    "run_id",
    "epoch",
    "told",
    "runs",
    "sequence_id",
    "sequence_number",
    "run_counts",
    "step_seconds",
    "last_run_at",
    "version",
]


@with_files
@given(st.dictionaries(st.sampled_from(FIELDS) | TEXT, JSON), LINES)
def test_records_are_read_or_passed_over(tmp_path: Path, record: dict[str, Any], text: str) -> None:
    failed = FailedBuild.from_dict(record)
    if failed is not None:
        failed.holds_back(failed.inputs, BuildSettings(), NOW)
    json.dumps(History.from_record(record).as_dict())
    json.dumps(History.from_0_1(record).as_dict())
    for content in (json.dumps({"version": store.VERSION, **record}), text):
        data = content.encode(errors="surrogatepass")
        (tmp_path / "record.json").write_bytes(data)
        store.read(tmp_path / "record.json")
        (tmp_path / directory.REPORT).write_bytes(data)
        report = directory.read_report(tmp_path)
        assert report is None or isinstance(directory._is_idle(report), bool)
        (tmp_path / events.FILE).write_bytes(data)
        list(events.events(tmp_path))


INDEX = json.dumps(
    {"format": "index:1.0", "index": {"a": {"format": "products:1.0", "datatype": "image-downloads",
     "path": "streams/v1/a.json", "products": ["com.ubuntu.cloud:server:24.04:amd64"]}}}
).encode()  # fmt: skip
PRODUCTS: dict[str, Any] = {
    "format": "products:1.0", "content_id": "a", "products": {"com.ubuntu.cloud:server:24.04:amd64":
     {"arch": "amd64", "versions": {"20260911": {"items": {"disk1.img": {"ftype": "disk1.img",
      "path": "a/b.img", "size": 4, "sha256": "0" * 64}}}}}},
}  # fmt: skip


def test_the_seeds_are_good() -> None:
    assert len(product_files(INDEX, name="x")) == 1
    listing = read_products(
        json.dumps(PRODUCTS).encode(), content_id="a", base="http://m/", name="x"
    )
    assert len(listing.items) == 1


@fast
@given(mutated(INDEX) | JSON.map(lambda each: json.dumps(each).encode()))
def test_an_index_is_read_or_refused(content: bytes) -> None:
    stream_index(content)


@fast
@given(
    st.sampled_from(["path", "size", "sha256", "md5", "ftype", "support_eol", "pubname"]),
    JSON,
    TEXT,
    JSON,
)
def test_a_mirrors_entries_are_read_or_refused(
    field: str, value: Any, name: str, other: Any
) -> None:
    tree = json.loads(json.dumps(PRODUCTS))
    product = next(iter(tree["products"].values()))
    product["versions"]["20260911"]["items"]["disk1.img"][field] = value
    product["versions"][name] = other
    stream_products(json.dumps(tree).encode())


@with_files
@given(LINES, st.lists(TEXT, max_size=6))
def test_packages_of_an_image(tmp_path: Path, text: str, values: list[str]) -> None:
    stanza = "\n".join(
        f"{key}: {value}"
        for key, value in zip(["Package", "Status", "Version", "Source"], values, strict=False)
    )
    files = {
        "var/lib/dpkg/status": f"{stanza}\n\n{text}\n\nPackage: x\nStatus: a b installed\n",
        "p/x.dist-info/METADATA": text or "Name: x\nVersion: 1\n",
        "p/x.dist-info/RECORD": text,
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode(errors="surrogatepass"))
    tree = Tree(tmp_path)
    for package in debian_packages(tree).values():
        assert package.upstream_version is not None
    for distribution in python_distributions(tree, "/p").values():
        missing_modules(tree, "/p", distribution)
    parse([text])


@fast
@given(
    mutated(zlib.compress(b'{"id": "a", "ver": 3, "listeners": {}}'))
    | JSON.map(lambda each: zlib.compress(json.dumps(each).encode()))
    | st.just(zlib.compress(bytes(32 << 20)))
    | st.just(zlib.compress(b"[" * 100000))
)
def test_a_heartbeat_is_read_or_refused(payload: bytes) -> None:
    digest = hmac.new(b"key", payload, hashlib.sha256).hexdigest().encode()
    tolerant(lambda: decode(payload + digest, "key"), ValueError, TypeError)
    tolerant(lambda: decode(payload, "key"), ValueError, TypeError)


DATES = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    *[st.sampled_from(["Fri", "Dec", "31", "1999", "23", "59", "0"]) | TEXT | st.integers()] * 7,
    st.integers().map("{:+}".format) | st.sampled_from(["GMT", "EST", "-0000"]) | TEXT,
)


@fast
@given(TEXT | DATES | st.integers().map("Fri, 31 Dec 1999 23:59:59 {:+}".format))
def test_a_wish_to_be_asked_later_is_seconds_or_none(said: str) -> None:
    wish = retry_after(said)
    assert wish is None or wish >= 0


def discover() -> bytes:
    mac = bytes.fromhex(MANAGEMENT.mac.replace(":", ""))
    fixed = bytes([1, 1, 6, 0]) + bytes(24) + mac.ljust(16, b"\0") + bytes(192)
    return fixed + b"\x63\x82\x53\x63" + bytes([53, 1, 1, 255])


def test_a_discover_is_answered() -> None:
    assert reply_to(discover(), MANAGEMENT)


@fast
@given(mutated(discover()) | st.binary(max_size=600))
def test_a_dhcp_packet_is_answered_or_passed_over(packet: bytes) -> None:
    dhcp(packet)


SEED = b'[build]\nformat = "raw"\n[target.a.publish]\ntag = "x"\n[lock]\nurl = "redis://h:1"\n'


@few_with_files
@given(mutated(SEED) | LINES.map(lambda text: text.encode(errors="surrogatepass")))
def test_settings_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "retrofit.toml"
    file.write_bytes(content)
    file.chmod(0o600)
    tolerant(lambda: load(file), ConfigError)


@fast
@given(TEXT)
def test_what_others_wrote_is_shown_without_effect(text: str) -> None:
    shown = escaped(text)
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown)
    shown.encode()


@few
@given(JSON, st.sampled_from(["json", "yaml"]))
def test_any_document_is_printed(document: Any, output: str) -> None:
    structured(json.loads(json.dumps(document)), output)


def table_row(text: str) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table("a")
    add_row(table, text)
    console = Console(highlight=False, width=240, record=True, file=None, quiet=True)
    console.print(table)
    return console.export_text()


@few
@given(TEXT.filter(lambda text: len(text) < 1000))
def test_a_table_obeys_nobody(text: str) -> None:
    assert "\x1b" not in table_row(text)


SCHEMES = st.sampled_from(["http", "https", "redis", "postgresql", "etcd3+http"])
PASSWORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789:@%!$&()*+,;=~^", min_size=12).map(
    lambda text: f"planted{text}"
)


@fast
@given(SCHEMES, PASSWORDS, TEXT)
def test_no_password_survives_redaction(scheme: str, password: str, around: str) -> None:
    told = redacted(f"{around} {scheme}://user:{password}@host:1/path {around}")
    assert password not in told.replace(around, "")
    document = redacted_document({"a": [f"{scheme}://user:{password}@host/?token={password}"]})
    assert password not in str(document)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see http://host/path?a=b", "see http://host/path?a=b"),
        ("http://u:p@h/ and https://v:q@i/", "http://***@h/ and https://***@i/"),
        ("user@host: x://", "user@host: x://"),
        ("redis://:p@ss@h:6379?password=x&db=1", "redis://***@h:6379?password=***&db=1"),
        ("https://host/@scope/a@1", "https://host/@scope/a@1"),
    ],
)
def test_redaction_leaves_the_rest(text: str, told: str) -> None:
    assert redacted(text) == told

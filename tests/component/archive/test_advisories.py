"""Records of OSV from files, directories, zip files and addresses name what updates fix."""

from __future__ import annotations

import dataclasses
import gzip
import os
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retrofit.archive import advisory_files
from retrofit.archive.agent import Distribution, written
from retrofit.archive.ask import ask
from retrofit.archive.evidence import AGENT, OS_RELEASE, Evidence
from retrofit.archive.offer import Offer, UpdateKind
from retrofit.config import BuildSettings
from tests.archive.osv import as_bytes, record
from tests.archive.packages import Package
from tests.archive.python_index import PythonIndex
from tests.archive.server import ArchiveServer, served
from tests.archive.small_archive import SmallArchive
from tests.component.archive.conftest import Checks, kinds
from tests.devcloud.certificates import loopback_certificate

HAPROXY = Package(name="haproxy", version="1.0")
KERNEL = Package(name="linux-image-9", version="1.0", source="linux")
LIBRARY = Package(name="dmsetup", version="2:1.0-1", source="lvm2 (2.0-1)")
NOBLE = b'ID=ubuntu\nVERSION_ID="24.04"\n'
CVE = ("CVE-2026-1234",)


@dataclasses.dataclass
class Named:
    """Checks of a target that has sources of advisories."""

    check: Checks
    archive: SmallArchive
    sources: list[str] = dataclasses.field(default_factory=list)
    build: BuildSettings = dataclasses.field(default_factory=BuildSettings)

    def offer(self, **files: bytes) -> Offer:
        return ask(
            self.evidence(**files),
            self.check.root,
            architecture="amd64",
            build=self.build,
            now=datetime.now(UTC),
            advisories=self.sources,
        )

    def evidence(self, **files: bytes) -> Evidence:
        held = [KERNEL.name]
        more = {OS_RELEASE: NOBLE, **files}
        return self.archive.evidence(HAPROXY, KERNEL, LIBRARY, held=held, files=more)

    def ids(self) -> dict[str, tuple[str, ...]]:
        """Return the ids of what is offered, by package."""
        return {each.package: each.cves for each in self.offer().updates if each.cves}


@pytest.fixture
def named(check: Checks, archive: SmallArchive) -> Named:
    archive.add("noble", HAPROXY, KERNEL, LIBRARY)
    archive.add(
        "noble-updates",
        dataclasses.replace(HAPROXY, version="1.1"),
        dataclasses.replace(KERNEL, version="1.1"),
        dataclasses.replace(LIBRARY, version="2:1.0-2", source="lvm2 (2.0-2)"),
    )
    return Named(check, archive)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    (tmp_path / "www").mkdir()
    with served(tmp_path / "www") as made:
        yield made


def a_file(path: Path) -> Path:
    path.write_bytes(as_bytes(record()))
    return path


def a_list(path: Path) -> Path:
    path.write_bytes(as_bytes(record("other"), record()))
    return path


def a_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("README", "none")
        for number in range(50):
            made.writestr(f"other-{number}.json", as_bytes(record("other")))
        made.writestr("one.json", as_bytes(record()))
    return path


def a_directory(path: Path) -> Path:
    (path / "osv/cve/2026").mkdir(parents=True)
    a_file(path / "osv/cve/2026/one.json")
    (path / "osv/cve/2026/notes.txt").write_text("none")
    a_zip(path / "osv/more.zip")
    return path


@pytest.mark.parametrize("made", [a_file, a_list, a_zip, a_directory])
def test_from_what_is_on_disk(named: Named, tmp_path: Path, made: Callable[[Path], Path]) -> None:
    named.sources = [str(made(tmp_path / "records"))]
    offer = named.offer()
    assert offer.warnings == ()
    assert {each.package: each.cves for each in offer.updates if each.cves} == {"haproxy": CVE}
    assert kinds(offer) == {
        "haproxy": UpdateKind.SECURITY,
        "dmsetup": UpdateKind.OTHER,
        "linux-image-9": UpdateKind.HELD,
    }


def test_without_a_source_nothing_has_ids(named: Named) -> None:
    assert named.ids() == {}
    assert kinds(named.offer())["haproxy"] is UpdateKind.OTHER


def test_of_a_source_of_several_packages_and_of_what_is_held(named: Named, tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    file.write_bytes(
        as_bytes(
            record("lvm2", ("introduced", "0"), ("fixed", "2.0-2"), ids=("CVE-2026-2000",)),
            record("linux", ids=("CVE-2026-3000",)),
        )
    )
    named.sources = [str(file)]
    assert named.ids() == {"dmsetup": ("CVE-2026-2000",), "linux-image-9": ("CVE-2026-3000",)}
    (kernel,) = named.offer().of(UpdateKind.HELD)
    assert kernel.is_fix


def test_what_was_fetched_from_a_former_address_is_deleted(
    named: Named, tmp_path: Path, server: ArchiveServer
) -> None:
    for name in ("one", "two"):
        a_file(tmp_path / "www" / name)
    named.sources = [f"{server.url}/{name}" for name in ("one", "two")]
    named.offer()
    kept = named.check.root / "advisories"
    before = {each.name for each in kept.iterdir()}
    (kept / f".{'0' * 16}.part").touch()
    (kept / "another").touch()
    del named.sources[1]
    named.offer()
    left = {each.name for each in kept.iterdir()} - {"another"}
    assert len(before) == 4
    assert len(left) == 2
    assert left < before
    named.sources = []
    named.offer()
    assert [each.name for each in kept.iterdir()] == ["another"]


def test_of_the_agent(named: Named, tmp_path: Path, server: ArchiveServer) -> None:
    python = Package(name="python3", version="3.12.3-0")
    index = PythonIndex(directory=tmp_path / "www/simple")
    for version in ("16.0.0", "16.0.1"):
        index.add("octavia", version)
    index.add("pyroute2", "0.7")
    file = tmp_path / "records.json"
    entry = record("octavia", ("introduced", "0"), ("fixed", "16.0.1"), ecosystem="PyPI")
    file.write_bytes(as_bytes(entry))
    named.sources = [str(file)]
    named.build = BuildSettings(agent="pypi", python_index=f"{server.url}/simple")
    files = {
        AGENT: written([Distribution(name="octavia", version="16.0.0")]),
        "var/lib/dpkg/status": python.installed().encode(),
    }
    (release,) = named.offer(**files).updates
    assert (release.kind, release.is_fix, release.cves) == (UpdateKind.AGENT, True, CVE)


@pytest.mark.parametrize("made", [a_file, a_zip])
def test_from_an_address_and_again_where_it_has_changed(
    named: Named, tmp_path: Path, server: ArchiveServer, made: Callable[[Path], Path]
) -> None:
    file = made(tmp_path / "www/records")
    named.sources = [f"{server.url}/records"]
    assert named.ids() == {"haproxy": CVE}
    server.forget()
    for _ in range(3):
        assert named.ids() == {"haproxy": CVE}
    assert [code for _, code in server.requests] == [304] * 3
    file.write_bytes(as_bytes(record(ids=("CVE-2026-9999",))))
    os.utime(file, (2e9, 2e9))
    assert named.ids() == {"haproxy": ("CVE-2026-9999",)}


def test_what_was_fetched_before_counts_where_there_is_no_answer(
    named: Named, tmp_path: Path, server: ArchiveServer
) -> None:
    a_file(tmp_path / "www/records")
    named.sources = [f"{server.url}/records"]
    server.gone = True
    (warning,) = named.offer().warnings
    assert "503" in warning
    server.gone = False
    assert named.ids() == {"haproxy": CVE}
    server.gone = True
    (warning,) = named.offer().warnings
    assert "those that were fetched before are used" in warning
    assert named.ids() == {"haproxy": CVE}


def test_an_answer_that_is_cut_short_does_not_replace_another(
    named: Named, tmp_path: Path, server: ArchiveServer
) -> None:
    file = a_file(tmp_path / "www/records")
    named.sources = [f"{server.url}/records"]
    assert named.ids() == {"haproxy": CVE}
    os.utime(file, (2e9, 2e9))
    server.cut = 20
    assert named.ids() == {"haproxy": CVE}
    (warning,) = named.offer().warnings
    assert "those that were fetched before are used" in warning


@pytest.mark.parametrize("there", ["file:///etc/passwd", "ftp://127.0.0.1/", "http://127.0.0.1:1/"])
def test_an_address_that_leads_elsewhere_is_a_warning(
    named: Named, server: ArchiveServer, there: str
) -> None:
    server.redirect = there
    named.sources = [f"{server.url}/nothing"]
    offer = named.offer()
    assert len(offer.warnings) == 1
    assert kinds(offer)["haproxy"] is UpdateKind.OTHER


def test_an_address_behind_an_authority_of_ones_own(named: Named, tmp_path: Path) -> None:
    certificate = loopback_certificate(tmp_path)
    (tmp_path / "www").mkdir()
    a_file(tmp_path / "www/records")
    with served(tmp_path / "www", certificate.server) as https:
        named.sources = [f"{https.url}/records"]
        assert "certificate" in named.offer().warnings[0].lower()
        named.build = BuildSettings(ca_bundle=certificate.authority)
        assert named.ids() == {"haproxy": CVE}


def test_a_proxy_of_a_build(named: Named, tmp_path: Path, server: ArchiveServer) -> None:
    a_file(tmp_path / "www/records")
    named.sources = [f"{server.url}/records"]
    named.build = BuildSettings(http_proxy="http://me:word@127.0.0.1:1/", no_proxy="127.0.0.1")
    assert named.ids() == {"haproxy": CVE}


def damaged(path: Path) -> None:
    path.write_bytes(b'"haproxy" {')


def binary(path: Path) -> None:
    path.write_bytes(gzip.compress(as_bytes(record())))


def cut_zip(path: Path) -> None:
    a_zip(path)
    path.write_bytes(path.read_bytes()[:-30])


def spoilt_zip(path: Path) -> None:
    a_zip(path)
    whole = bytearray(path.read_bytes())
    whole[60:80] = b"\xff" * 20
    path.write_bytes(whole)


def spoilt_lzma(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("one.json", as_bytes(record()))
    whole = bytearray(path.read_bytes())
    whole[42:52] = b"\xff" * 10
    path.write_bytes(whole)


def spoilt_name(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("\u00e9.json", as_bytes(record()))
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))


def nameless(path: Path) -> None:
    """Write a member without a name, where Python before 3.12 looks at its last letter."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("none.json", b"{}")
        made.writestr("one.json", as_bytes(record()))
    whole = path.read_bytes().replace(b"none.json", b"\0one.json")
    path.write_bytes(whole.replace(b"CVE", b"cve", 1))


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(advisory_files.LARGEST_RECORD + 1)


def a_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("one.json", b" " * (advisory_files.LARGEST_RECORD + 1))


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def nothing(_path: Path) -> None:
    """Leave no file."""


@pytest.mark.parametrize(
    "spoil",
    [
        damaged,
        cut_zip,
        spoilt_zip,
        spoilt_lzma,
        spoilt_name,
        nameless,
        large,
        a_bomb,
        a_pipe,
        nothing,
    ],
)
def test_what_cannot_be_read_is_a_warning_each_time(
    named: Named, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(tmp_path / "records.json")
    good = tmp_path / "good.json"
    good.write_bytes(as_bytes(record()))
    named.sources = [str(tmp_path / "records.json"), str(good)]
    for _ in range(2):
        offer = named.offer()
        assert [each for each in offer.warnings if str(tmp_path / "records.json") in each]
        assert kinds(offer)["haproxy"] is UpdateKind.SECURITY


def test_what_is_no_record_at_all_names_nothing(named: Named, tmp_path: Path) -> None:
    binary(tmp_path / "records.json")
    named.sources = [str(tmp_path / "records.json")]
    assert named.ids() == {}


def test_all_records_together_have_a_limit(
    named: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(advisory_files, "LARGEST_ALL", 1000)
    named.sources = [str(a_zip(tmp_path / "records"))]
    (warning,) = named.offer().warnings
    assert "the records have more than" in warning


def test_unchanged_files_are_not_read_again(
    named: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_file(tmp_path / "records.json")
    named.sources = [str(file)]
    assert named.ids() == {"haproxy": CVE}
    monkeypatch.setattr("retrofit.archive.name_fixes.read_all", None)
    assert named.ids() == {"haproxy": CVE}
    monkeypatch.undo()
    file.write_bytes(as_bytes(record(ids=("CVE-2026-9999",))))
    assert named.ids() == {"haproxy": ("CVE-2026-9999",)}
    named.sources = []
    assert named.ids() == {}

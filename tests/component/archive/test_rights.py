"""What apt can do while it reads files of others: nothing but its private root and the network."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrofit.archive.evidence import SOURCES_PARTS, STATUS
from retrofit.archive.offer import ArchiveError, Update, UpdateKind
from retrofit.archive.private_root import PrivateRoot, lay_out
from retrofit.archive.sources import entries_of
from retrofit.config import BuildSettings
from tests.archive.packages import Package, status_of
from tests.archive.small_archive import KEYRING, SmallArchive
from tests.component.archive.conftest import Checks, kinds
from tests.hostile.test_sandbox import needs_landlock

OPENSSL = Package(name="libssl3", version="3.0.13-0", source="openssl")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory as paths.cache is: all directories above it can be entered."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o750)
    yield path
    shutil.rmtree(path)


def laid_out(archive: SmallArchive, path: Path, **files: bytes) -> PrivateRoot:
    evidence = archive.evidence(OPENSSL, files=files)
    return lay_out(
        path / "root",
        evidence,
        entries_of(evidence),
        architectures=("amd64",),
        held=(),
        build=BuildSettings(),
    )


@pytest.mark.root
def test_apt_runs_as_a_user_without_rights(archive: SmallArchive, open_directory: Path) -> None:
    assert os.geteuid() == 0
    private = laid_out(archive, open_directory)
    assert private.user is not None
    assert int(private.apt("id", "-u", timeout=30).stdout) == private.user[0] != 0
    status = private.apt("cat", "/proc/self/status", timeout=30).stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {facts[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert (facts["NoNewPrivs"], facts["Groups"].strip()) == ("1", "")


@pytest.mark.root
def test_the_whole_check_is_made_by_that_user(
    archive: SmallArchive, check: Checks, open_directory: Path
) -> None:
    archive.add("noble-security", Package(name="libssl3", version="3.0.13-1"))
    check.root = open_directory / "root"
    for _ in range(2):
        assert kinds(check(archive.evidence(OPENSSL))) == {"libssl3": UpdateKind.SECURITY}
    owners = {file.stat().st_uid for file in (check.root / "lists").iterdir()}
    assert len(owners) == 1
    assert 0 not in owners
    assert (check.root / "last-check.json").stat().st_uid == 0
    # Where that user cannot go, the check still works, with no right of root but over these files.
    open_directory.chmod(0o700)
    os.chown(open_directory, 4242, 4242)
    assert kinds(check(archive.evidence(OPENSSL))) == {"libssl3": UpdateKind.SECURITY}


@pytest.mark.root
@needs_landlock
@pytest.mark.parametrize("entered", [True, False], ids=["as _apt", "as root"])
def test_nothing_of_this_machine_can_be_read(
    archive: SmallArchive, open_directory: Path, entered: bool
) -> None:
    open_directory.chmod(0o750 if entered else 0o700)
    secret = open_directory / "secret"
    secret.write_text("everybody may read this\n")
    private = laid_out(archive, open_directory)
    for file in (
        "/etc/shadow",
        "/etc/apt/sources.list",
        "/etc/apt",
        secret,
        "/var/lib/dpkg/status",
    ):
        with pytest.raises(ArchiveError, match=r"Permission denied|No such file"):
            private.apt("ls" if Path(file).is_dir() else "cat", str(file), timeout=30)
    for file in (open_directory / "new", Path("/tmp/of-apt"), private.path / "etc/new"):
        with pytest.raises(ArchiveError, match=r"Permission denied"):
            private.apt("touch", str(file), timeout=30)
        assert not file.exists()
    private.apt("touch", str(private.path / "lists/new"), timeout=30)


def test_no_configuration_of_this_machine_counts(
    archive: SmallArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "apt.conf"
    mine.write_text('Acquire::http::Proxy "http://127.0.0.1:1/";\nMark::Of "this machine";\n')
    monkeypatch.setenv("APT_CONFIG", str(mine))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.setenv("OS_PASSWORD", "secret")
    private = laid_out(archive, tmp_path)
    dump = private.apt("apt-config", "dump", timeout=30).stdout
    assert 'APT::Update::Error-Mode "any"' in dump
    assert "Mark::Of" not in dump
    assert "Proxy" not in dump
    # Every Debian has this hook of debconf in its apt.conf.d.
    assert "Pre-Install-Pkgs" not in dump
    assert "secret" not in private.apt("env", timeout=30).stdout
    assert Checks(tmp_path / "other")(archive.evidence(OPENSSL)).updates == ()


LOCAL = "Package: libssl3\nVersion: 9\nArchitecture: amd64\n"


@pytest.mark.parametrize(
    "line",
    [
        "deb [trusted=yes] http://127.0.0.1/ubuntu noble main",
        "deb [trusted=yes] file:{local} ./",
        "deb file:{local} ./",
        "deb copy:{local} ./",
        "deb mirror+file:{local}/list ./",
        "deb cdrom:[{local}]/ ./",
        "deb [signed-by={local}/key.gpg] http://127.0.0.1/ubuntu noble main",
        "deb http://127.0.0.1/ubuntu noble main " + "x" * (1 << 20),
    ],
    ids=lambda line: line[:30],
)
def test_hostile_sources_reach_nothing(
    archive: SmallArchive, check: Checks, tmp_path: Path, line: str
) -> None:
    local = tmp_path / "local"
    local.mkdir()
    (local / "Packages").write_text(LOCAL)
    archive.server.forget()
    evidence = archive.evidence(
        OPENSSL, files={f"{SOURCES_PARTS}/more.list": line.replace("{local}", str(local)).encode()}
    )
    with pytest.raises(ArchiveError, match=r"more\.list"):
        check(evidence)
    assert archive.server.requests == []
    assert not (check.root / "lists").exists()


@pytest.mark.parametrize(
    "files",
    [
        {KEYRING: b"\x99" * (1 << 20)},
        {KEYRING: b""},
        {STATUS: b"Package: libssl3\nStatus: install ok installed\n" + b"x" * (1 << 20)},
        {STATUS: b"Package: --option=Dir=/\nStatus: install ok installed\nArchitecture: amd64\n"},
        {STATUS: status_of(OPENSSL).replace(b"Version: 3", b"Version: $(id)")},
        {"etc/apt/preferences": b"\x00\xff" * 1000},
        {"etc/apt/preferences.d/pin": b"Package: *\nPin: release a=x\n"},
        {"var/lib/apt/extended_states": b"y" * (1 << 20)},
    ],
    ids=["key", "no key", "status", "option", "version", "preferences", "pin", "states"],
)
def test_hostile_files_are_an_error_or_nothing(
    archive: SmallArchive, check: Checks, files: dict[str, bytes]
) -> None:
    updates: tuple[Update, ...] = ()
    message = ""
    try:
        updates = check(archive.evidence(OPENSSL, files=files)).updates
    except ArchiveError as error:
        message = error.message
    assert updates == ()
    assert len(message) < 2000


def test_a_hostile_redirection_to_a_file(archive: SmallArchive, check: Checks) -> None:
    (archive.www / "dists/noble-security/InRelease").unlink()
    archive.server.redirect = "file:///etc/passwd"
    with pytest.raises(ArchiveError, match="apt-get update failed"):
        check(archive.evidence(OPENSSL))
    if (check.root / "lists").exists():
        assert not any(
            b"root:" in file.read_bytes() for file in (check.root / "lists").rglob("*_*")
        )

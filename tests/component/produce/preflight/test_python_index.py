"""The Python package index is tried by uv, with the addresses, proxies and CAs of a build."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import BuildSettings
from retrofit.errors import BuildError
from retrofit.produce.preflight.python_index import try_python_index
from retrofit.produce.preflight.tries import DoubtError
from tests.archive.server import ArchiveServer, served
from tests.devcloud.certificates import loopback_certificate

WHEEL = "octavia-16.0.1-py3-none-any.whl"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """An index with one version of octavia, as files."""
    place = tmp_path / "www" / "simple" / "octavia"
    place.mkdir(parents=True)
    with zipfile.ZipFile(place / WHEEL, "w") as wheel:
        info = "octavia-16.0.1.dist-info"
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: octavia\nVersion: 16.0.1\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    (place / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    return tmp_path / "www"


@pytest.fixture
def index(files: Path) -> Iterator[ArchiveServer]:
    with served(files) as server:
        yield server


def build(url: str, **settings: Any) -> BuildSettings:
    return BuildSettings(agent="pypi", python_index=f"{url}/simple/", **settings)


def refused(settings: BuildSettings) -> str:
    with pytest.raises(BuildError, match="uv cannot find octavia") as told:
        try_python_index(settings, "noble")
    assert "build.python_index" in (told.value.hint or "")
    return told.value.message


def test_it_is_not_asked_for_the_distributions_agent() -> None:
    assert try_python_index(BuildSettings(), "noble").startswith("not needed")


def test_what_it_has_is_found(index: ArchiveServer) -> None:
    assert try_python_index(build(index.url), "noble") == "uv finds octavia==16.0.1"
    assert try_python_index(build(index.url, agent_version="16.0.1"), None).endswith("16.0.1")


def test_one_that_is_away_is_named(index: ArchiveServer) -> None:
    assert "127.0.0.1:1" in refused(build("http://127.0.0.1:1"))
    index.gone = True
    assert "503" in refused(build(index.url))


def test_a_version_that_it_lacks_is_named(index: ArchiveServer) -> None:
    assert "99.0.0" in refused(build(index.url, agent_version="99.0.0"))


def test_constraints_that_exclude_it_are_named(index: ArchiveServer, tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("octavia==15.0.0\n")
    assert "15.0.0" in refused(build(index.url, agent_constraints=constraints))


@pytest.mark.parametrize(
    "constraint", ["octavia @ git+{url}/octavia.git@main", "six==1.0\noctavia@git+{url}/octavia"]
)
def test_an_agent_from_a_repository_is_not_fetched(
    index: ArchiveServer, tmp_path: Path, constraint: str
) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"{constraint.format(url=index.url)}\n")
    found = try_python_index(build(index.url, agent_constraints=constraints), "noble")
    assert found == "not tried: build.agent_constraints names a repository"
    assert index.requests == []


def test_a_repository_that_no_build_can_install_from_is_named(
    index: ArchiveServer, tmp_path: Path
) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(f"# git+nothing\noctavia @ hg+{index.url}/octavia\n")
    assert "Mercurial" in refused(build(index.url, agent_constraints=constraints))


@pytest.mark.parametrize("by_address", [False, True])
def test_no_program_of_a_source_distribution_runs(
    files: Path, index: ArchiveServer, tmp_path: Path, by_address: bool
) -> None:
    ran, name = tmp_path / "ran", "octavia-16.0.1.tar.gz"
    place = files / "simple" / "octavia"
    members = {
        "PKG-INFO": "Metadata-Version: 2.1\nName: octavia\nVersion: 16.0.1\n",
        "setup.py": f"open({str(ran)!r}, 'w')\n",
        # By our own Python alone: nothing of an index is needed.
        "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'back'\n"
        "backend-path = ['.']\n",
        "back.py": f"open({str(ran)!r}, 'w')\n",
    }
    with tarfile.open(place / name, "w:gz") as archive:
        for member, text in members.items():
            info = tarfile.TarInfo(f"octavia-16.0.1/{member}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    (place / WHEEL).unlink()
    (place / "index.html").write_text(f'<a href="{name}">{name}</a>')
    settings = build(index.url)
    if by_address:
        constraints = tmp_path / "constraints.txt"
        constraints.write_text(f"octavia @ {index.url}/simple/octavia/{name}\n")
        settings = build(index.url, agent_constraints=constraints)
    with pytest.raises(DoubtError, match="octavia as source alone"):
        try_python_index(settings, "noble")
    assert not ran.exists()


def test_constraints_that_cannot_be_read_are_named(index: ArchiveServer, tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.touch()
    settings = build(index.url, agent_constraints=constraints)
    constraints.unlink()
    with pytest.raises(BuildError, match="No such file") as told:
        try_python_index(settings, "noble")
    assert "build.agent_constraints" in (told.value.hint or "")


def test_a_proxy_that_is_away_is_named(index: ArchiveServer) -> None:
    assert "127.0.0.1:1" in refused(build(index.url, http_proxy="http://127.0.0.1:1"))


def test_the_ca_of_the_settings_is_trusted_and_no_other_one(files: Path, tmp_path: Path) -> None:
    certificate = loopback_certificate(tmp_path)
    with served(files, certificate.server) as index:
        assert "certificate" in refused(build(index.url)).lower()
        found = try_python_index(build(index.url, ca_bundle=certificate.authority), "noble")
        assert found == "uv finds octavia==16.0.1"

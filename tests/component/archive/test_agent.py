"""Releases of the agent: an index and a repository of the tests' own, asked as a build asks."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrofit.archive.agent import Distribution, written
from retrofit.archive.evidence import AGENT, Evidence
from retrofit.archive.offer import Offer, UpdateKind
from retrofit.config import BuildSettings
from tests.archive.packages import Package
from tests.archive.python_index import PythonIndex, Repository
from tests.archive.server import ArchiveServer, served
from tests.archive.small_archive import SmallArchive
from tests.component.archive.conftest import Checks
from tests.devcloud.certificates import loopback_certificate

PYTHON = Package(name="python3", version="3.12.3-0ubuntu2")
LIBC = Package(name="libc6", version="2.39-0ubuntu8")
INSTALLED = (
    Distribution(name="flask", version="2.0"),
    Distribution(name="octavia", version="16.0.0"),
    Distribution(name="pyroute2", version="0.7"),
)


@pytest.fixture(autouse=True)
def released(archive: SmallArchive) -> None:
    archive.add("noble", PYTHON, LIBC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    (tmp_path / "www").mkdir()
    with served(tmp_path / "www") as made:
        yield made


@pytest.fixture
def index(tmp_path: Path, server: ArchiveServer, check: Checks) -> PythonIndex:
    """An index that has what the image has, and nothing newer."""
    made = PythonIndex(directory=tmp_path / "www/simple")
    made.add("octavia", "16.0.0", requires=["flask>=2"])
    made.add("flask", "2.0")
    made.add("pyroute2", "0.7")
    check.build = BuildSettings(agent="pypi", python_index=f"{server.url}/simple")
    return made


def evidence(archive: SmallArchive, *installed: Distribution) -> Evidence:
    files = {AGENT: written(installed or INSTALLED)}
    return archive.evidence(PYTHON, LIBC, files=files)


def agent(offer: Offer) -> dict[str, tuple[str, str]]:
    """Return what is newer, by name: the installed version and the candidate."""
    return {each.package: (each.installed, each.candidate) for each in offer.of(UpdateKind.AGENT)}


def setting(check: Checks, **changes: object) -> None:
    check.build = check.build.model_copy(update=changes)


def test_nothing_is_newer_right_after_a_build(
    archive: SmallArchive, check: Checks, index: PythonIndex
) -> None:
    offer = check(evidence(archive))
    assert (offer.updates, offer.agent_unknown) == ((), None)


def test_a_release_and_what_it_requires(
    archive: SmallArchive, check: Checks, index: PythonIndex
) -> None:
    index.add("octavia", "16.0.1", requires=["flask>=2", "new"])
    index.add("new", "1.0")
    index.add("flask", "3.0")
    before = check(evidence(archive, *INSTALLED)).digest
    assert agent(check(evidence(archive))) == {
        "octavia": ("16.0.0", "16.0.1"),
        "flask": ("2.0", "3.0"),
    }
    index.add("octavia", "16.0.2", requires=["flask>=2"])
    assert check(evidence(archive)).digest != before


@pytest.mark.parametrize(
    ("version", "candidate"),
    [(None, "17.0.0"), ("16.*", "16.0.1"), ("16.0.0", None)],
)
def test_the_series_that_the_recipe_installs(
    archive: SmallArchive,
    check: Checks,
    index: PythonIndex,
    version: str | None,
    candidate: str | None,
) -> None:
    index.add("octavia", "16.0.1")
    index.add("octavia", "17.0.0")
    setting(check, agent_version=version)
    found = agent(check(evidence(archive)))
    assert found == ({} if candidate is None else {"octavia": ("16.0.0", candidate)})


def test_a_release_for_another_python_is_none(
    archive: SmallArchive, check: Checks, index: PythonIndex
) -> None:
    index.add("octavia", "18.0.0", python=">=3.13")
    assert agent(check(evidence(archive))) == {}
    newer = dataclasses.replace(PYTHON, version="3.13.1-1")
    archive.replace("noble", newer)
    files = {AGENT: written(INSTALLED)}
    found = agent(check(archive.evidence(newer, LIBC, files=files)))
    assert found == {"octavia": ("16.0.0", "18.0.0")}


def test_constraints_hold(
    archive: SmallArchive, check: Checks, index: PythonIndex, tmp_path: Path
) -> None:
    index.add("octavia", "16.0.1", requires=["flask>=2"])
    index.add("flask", "3.0")
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("flask===2.0\n")
    setting(check, agent_constraints=constraints)
    assert agent(check(evidence(archive))) == {"octavia": ("16.0.0", "16.0.1")}


def test_the_distributions_of_packages_are_the_archives(
    archive: SmallArchive, check: Checks, index: PythonIndex, server: ArchiveServer
) -> None:
    index.add("octavia", "16.0.1")
    setting(check, agent="distro")
    assert agent(check(evidence(archive))) == {}
    assert server.requests == []


def test_what_an_older_index_has_is_not_newer(
    archive: SmallArchive, check: Checks, index: PythonIndex
) -> None:
    later = dataclasses.replace(INSTALLED[1], version="16.0.9")
    assert agent(check(evidence(archive, INSTALLED[0], later))) == {}


@pytest.mark.parametrize("trouble", ["gone", "nobody", "empty", "unlisted"])
def test_an_index_without_an_answer_is_a_note_and_packages_count(
    archive: SmallArchive, check: Checks, index: PythonIndex, server: ArchiveServer, trouble: str
) -> None:
    archive.add("noble-security", dataclasses.replace(LIBC, version="2.39-0ubuntu9"))
    asked = evidence(archive)
    if trouble == "gone":
        server.gone = True
    elif trouble == "nobody":
        setting(check, python_index="http://me:word@127.0.0.1:1/simple")
    elif trouble == "empty":
        shutil.rmtree(index.directory / "octavia")
    else:
        asked = archive.evidence(PYTHON, LIBC)
    offer = check(asked)
    assert agent(offer) == {}
    assert offer.agent_unknown is not None
    assert "word" not in offer.agent_unknown
    assert len(offer.agent_unknown) < 2000
    assert [each.kind for each in offer.updates] == [UpdateKind.SECURITY]


def test_a_release_that_is_damaged_is_none(
    archive: SmallArchive, check: Checks, index: PythonIndex
) -> None:
    (index.directory / "octavia/octavia-99-py3-none-any.whl").write_bytes(b"\0" * 1000)
    page = index.directory / "octavia/index.html"
    page.write_text(page.read_text() + '<a href="octavia-99-py3-none-any.whl">x</a>')
    assert agent(check(evidence(archive))) == {}


def test_an_index_that_answers_again(
    archive: SmallArchive, check: Checks, index: PythonIndex, server: ArchiveServer
) -> None:
    server.gone = True
    assert check(evidence(archive)).agent_unknown is not None
    server.gone = False
    index.add("octavia", "16.0.1", requires=["flask"])
    offer = check(evidence(archive))
    assert agent(offer) == {"octavia": ("16.0.0", "16.0.1")}
    assert offer.agent_unknown is None


def test_no_program_of_a_source_distribution_runs(
    archive: SmallArchive, check: Checks, index: PythonIndex, tmp_path: Path
) -> None:
    tree = tmp_path / "octavia-99"
    tree.mkdir()
    mark = tmp_path / "mark"
    (tree / "setup.py").write_text(f"open({str(mark)!r}, 'w')\n")
    shutil.make_archive(str(index.directory / "octavia/octavia-99"), "gztar", tmp_path, tree.name)
    page = (index.directory / "octavia/index.html").read_text()
    (index.directory / "octavia/index.html").write_text(
        page + '<a href="octavia-99.tar.gz">octavia-99.tar.gz</a>'
    )
    check(evidence(archive))
    assert not mark.exists()


def test_no_configuration_of_this_machine_counts(
    archive: SmallArchive, check: Checks, index: PythonIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("UV_CONSTRAINT", "/etc/hostname")
    index.add("octavia", "16.0.1")
    assert agent(check(evidence(archive))) == {"octavia": ("16.0.0", "16.0.1")}


def test_an_index_behind_an_authority_of_ones_own(
    archive: SmallArchive, check: Checks, index: PythonIndex, tmp_path: Path
) -> None:
    certificate = loopback_certificate(tmp_path)
    index.add("octavia", "16.0.1")
    with served(tmp_path / "www", certificate.server) as https:
        setting(check, python_index=f"{https.url}/simple")
        refused = check(evidence(archive)).agent_unknown or ""
        assert "certificate" in refused.lower()
        setting(check, ca_bundle=certificate.authority)
        assert agent(check(evidence(archive))) == {"octavia": ("16.0.0", "16.0.1")}


@pytest.fixture
def repository(tmp_path: Path, server: ArchiveServer, check: Checks) -> Repository:
    check.build = BuildSettings(agent="pypi")
    return Repository.made(tmp_path / "www/octavia")


def from_git(server: ArchiveServer, commit: str, ref: str = "stable/2026.1") -> Distribution:
    url = f"{server.url}/octavia/.git"
    return Distribution(name="octavia", version="18.0.1.dev3", url=url, ref=ref, commit=commit)


@pytest.mark.parametrize("ref", ["stable/2026.1", ""], ids=["branch", "head"])
def test_a_branch_that_moved(
    archive: SmallArchive, check: Checks, server: ArchiveServer, repository: Repository, ref: str
) -> None:
    first = repository.commit("stable/2026.1")
    asked = evidence(archive, from_git(server, first, ref))
    assert (agent(check(asked)), check(asked).agent_unknown) == ({}, None)
    second = repository.commit("stable/2026.1")
    assert agent(check(asked)) == {"octavia": (first[:12], second[:12])}
    if ref:
        repository.commit("another/stable/2026.1")
        assert agent(check(asked)) == {"octavia": (first[:12], second[:12])}


def test_a_tag_is_the_commit_that_it_names(
    archive: SmallArchive, check: Checks, server: ArchiveServer, repository: Repository
) -> None:
    commit = repository.commit()
    assert repository.tag("18.0.1") != commit
    assert agent(check(evidence(archive, from_git(server, commit, "18.0.1")))) == {}


def test_a_commit_stays_what_it_is(
    archive: SmallArchive, check: Checks, server: ArchiveServer, repository: Repository
) -> None:
    commit = repository.commit()
    repository.commit()
    for ref in (commit, commit[:10]):
        offer = check(evidence(archive, from_git(server, commit, ref)))
        assert (agent(offer), offer.agent_unknown) == ({}, None)


def test_a_repository_without_an_answer(
    archive: SmallArchive, check: Checks, server: ArchiveServer, repository: Repository
) -> None:
    commit = repository.commit()
    gone = check(evidence(archive, from_git(server, commit, "gone"))).agent_unknown or ""
    assert "has no gone" in gone
    server.gone = True
    assert "503" in (check(evidence(archive, from_git(server, commit))).agent_unknown or "")


HOSTILE = {
    "a program": ("ext::sh -c touch% {mark}", "main"),
    "a file": ("file://{repository}", "main"),
    "a path": ("{repository}", "main"),
    "ssh": ("ssh://-oProxyCommand=touch%20{mark}/x", "main"),
    "an option": ("--upload-pack=touch {mark}", "main"),
    "an option for a ref": ("http://127.0.0.1:1/x", "--upload-pack=touch {mark}"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_address_of_others_reaches_nothing_of_this_machine(
    archive: SmallArchive, check: Checks, repository: Repository, tmp_path: Path, case: str
) -> None:
    mark = tmp_path / "mark"
    first = repository.commit("main")
    repository.commit("main")
    url, ref = (part.format(mark=mark, repository=repository.directory) for part in HOSTILE[case])
    entry = Distribution(name="octavia", version="1", url=url, ref=ref, commit=first)
    offer = check(evidence(archive, entry))
    assert agent(offer) == {}
    assert "only addresses of http and https are asked" in (offer.agent_unknown or "")
    assert not mark.exists()


@pytest.mark.parametrize(
    "lines",
    [
        b"x" * (1 << 20),
        b"octavia\t99\n" * 100_000,
        b"octavia\t" + b"9" * 5000 + b"\n",
        b"octavia\t1\thttp://127.0.0.1:1/\tmain\tnone\n",
        b"--index-url\thttp://127.0.0.1:1/\n",
        b"\xff\xfe\t\0\n",
        b"octavia\t${HOME}\n",
    ],
    ids=["long", "many", "version", "commit", "option", "bytes", "variable"],
)
def test_hostile_lists_are_an_error_or_nothing(
    archive: SmallArchive, check: Checks, index: PythonIndex, lines: bytes
) -> None:
    offer = check(archive.evidence(PYTHON, LIBC, files={AGENT: lines}))
    assert agent(offer) == {}


@pytest.mark.root
def test_uv_has_no_rights(
    archive: SmallArchive, check: Checks, index: PythonIndex, tmp_path: Path
) -> None:
    check(evidence(archive))
    cache = check.root / "agent"
    assert stat.S_ISDIR(cache.lstat().st_mode)
    # A link in place of the directory leads to nothing of others.
    shutil.rmtree(cache)
    other = tmp_path / "other"
    other.mkdir()
    cache.symlink_to(other)
    check(evidence(archive))
    assert list(other.iterdir()) == []
    # Nor does a directory of another user.
    shutil.rmtree(cache)
    cache.mkdir()
    os.chown(cache, 4242, 4242)
    check(evidence(archive))
    assert cache.stat().st_uid != 4242

"""What an image records of its agent's Python distributions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from retrofit.archive.agent import Distribution, agent_of
from retrofit.archive.evidence import AGENT, STATUS, Evidence
from retrofit.produce.agent import agent_in
from retrofit.verify.tree import Tree

COMMIT = "a" * 40
GIT = {
    "url": "https://git.example/octavia",
    "vcs_info": {"vcs": "git", "commit_id": COMMIT, "requested_revision": "stable/2026.1"},
}


def install(root: Path, name: str, version: str, origin: str | None = None) -> None:
    info = root / f"opt/amphora-agent-venv/lib/python3.12/site-packages/{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if origin is not None:
        (info / "direct_url.json").write_text(origin)


def read(root: Path) -> tuple[Distribution, ...]:
    return agent_of(Evidence(files={STATUS: b"Package: a\n", AGENT: agent_in(Tree(root))}))


def test_names_and_versions(tmp_path: Path) -> None:
    install(tmp_path, "octavia", "16.0.0")
    install(tmp_path, "Oslo.Config", "9.1")
    assert read(tmp_path) == (
        Distribution(name="octavia", version="16.0.0"),
        Distribution(name="oslo-config", version="9.1"),
    )


def test_where_it_is_from(tmp_path: Path) -> None:
    install(tmp_path, "octavia", "18.0.1.dev3", json.dumps(GIT))
    (found,) = read(tmp_path)
    assert (found.url, found.ref, found.commit) == (GIT["url"], "stable/2026.1", COMMIT)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "[" * 100_000,
        "1",
        json.dumps({"url": "file:///x", "dir_info": {}}),
        json.dumps({**GIT, "vcs_info": {"vcs": "hg", "commit_id": COMMIT}}),
        json.dumps({**GIT, "vcs_info": []}),
        json.dumps({"vcs_info": GIT["vcs_info"]}),
    ],
    ids=["empty", "deep", "number", "directory", "hg", "list", "no address"],
)
def test_another_origin_is_none(tmp_path: Path, origin: str) -> None:
    install(tmp_path, "octavia", "16.0.0", origin)
    assert read(tmp_path) == (Distribution(name="octavia", version="16.0.0"),)


@pytest.mark.parametrize("change", [{"url": "a\tb"}, {"url": "x" * 2000}, {"url": 1}])
def test_a_hostile_origin_breaks_no_line(tmp_path: Path, change: dict[str, Any]) -> None:
    install(tmp_path, "octavia", "16.0.0", json.dumps({**GIT, **change}))
    install(tmp_path, "pyroute2", "1")
    assert "pyroute2" in {each.name for each in read(tmp_path)}


def test_an_image_without_an_environment_has_none(tmp_path: Path) -> None:
    assert read(tmp_path) == ()

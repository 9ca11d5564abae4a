"""The facts about agents, against the files of Octavia's own packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from retrofit.control_plane.agents import DEFECTS, FEATURES, agent_version
from retrofit.control_plane.releases import RELEASES
from tests.component.control_plane import octavias
from tests.component.control_plane.test_language import CACHE, dotted
from tests.devcloud.places import server_program

OLDER = (
    (10, 0, 0),
    (10, 1, 0),
    (10, 1, 1),
    (11, 0, 0),
    (11, 0, 1),
    (11, 0, 2),
    (12, 0, 0),
    (12, 0, 1),
    (13, 0, 0),
)
BETWEEN = ((15, 0, 0), (16, 0, 1))
VERSIONS = tuple(
    dict.fromkeys((*OLDER, *BETWEEN, *(v for each in RELEASES for v in (each.first, each.last))))
)
TRAITS = (*FEATURES, *DEFECTS)


def wrong(code: Path, octavia: tuple[int, ...]) -> list[str]:
    """Name the traits that a version has other than the table shows."""
    return [
        f"octavia {dotted(octavia)}: {trait.name}"
        for trait in TRAITS
        if octavia[0] >= getattr(trait, "begins", 0)
        and (trait.mark in (code / "octavia" / trait.file).read_text()) != trait.is_in(octavia)
    ]


def test_the_development_clouds_agent_has_what_the_table_shows() -> None:
    answer = subprocess.run(
        [server_program("python"), "-c",
         "import importlib.metadata as m; d = m.distribution('octavia');"
         "print(d.version, d.locate_file(''))"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    version = agent_version(answer[0])
    assert version is not None
    assert wrong(Path(answer[1]), version) == []


@pytest.mark.slow
def test_the_agents_of_all_releases_have_what_the_table_shows() -> None:
    found = []
    for octavia in sorted(VERSIONS):
        code = octavias.unpacked(dotted(octavia), CACHE / "octavia")
        found += wrong(code, octavia)
    assert found == []

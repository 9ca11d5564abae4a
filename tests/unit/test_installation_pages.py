"""What the pages let root install is pinned with hashes, its build requirements too."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("Containerfile"))
    if "pip install" in path.read_text()
)
COMMAND = re.compile(r"pip(?:3)? install(?P<words>(?:[^\n`\\]|\\\n)*)")


def commands(path: Path) -> list[list[str]]:
    found = COMMAND.finditer(path.read_text())
    return [match["words"].replace("\\\n", " ").split() for match in found]


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"(?m)^([A-Za-z0-9_.-]+)==(\S+)", text))


def test_pages_that_install_are_found() -> None:
    assert {"README.md", "install.md", "systemd.md", "operations.md", "Containerfile"} <= {
        path.name for path in PAGES
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_checkout_is_installed_without_fetching_anything(path: Path) -> None:
    for words in commands(path):
        if "." in words:
            assert {"--no-deps", "--no-build-isolation"} <= set(words), words
        if "requirements/run.txt" in words and path.suffix == ".md":
            assert "--require-hashes" in words
            assert "requirements/build.txt" in words


def test_pinned_build_requirements_are_those_of_the_package() -> None:
    build = pins("build.txt")
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for requirement in document["build-system"]["requires"]:
        assert re.split(r"[<>=~!; ]", requirement)[0] in build
    run = pins("run.txt")
    shared = build.keys() & run.keys()
    assert {name: build[name] for name in shared} == {name: run[name] for name in shared}
    hashes = (ROOT / "requirements/build.txt").read_text().count("--hash=sha256:")
    assert hashes >= len(build)

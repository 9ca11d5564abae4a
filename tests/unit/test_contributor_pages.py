"""Pages for contributors name what there is: rooms, directories, make targets, files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = [*(ROOT / "tests").rglob("test_*.py")]
PAGES = [ROOT / "CONTRIBUTING.md", *(ROOT / "docs" / "contributing").glob("*.md")]


def page(name: str) -> str:
    return (ROOT / "docs" / "contributing" / name).read_text()


def test_every_room_is_in_the_architecture() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(each["layers"] for each in contracts["contracts"] if "layers" in each)
    rooms = {room for line in layers for room in line.split(" | ")}
    assert {"cli", "times"} <= rooms
    named = set(re.findall(r"`(\w+)(?:/|\.py)`", page("architecture.md")))
    assert rooms - named == set()


def test_every_directory_of_tests_is_described() -> None:
    tops = {path.relative_to(ROOT / "tests").parts[0] for path in TESTS}
    assert {top for top in tops if f"`tests/{top}`" not in page("tests.md")} == set()


def test_make_test_leaves_no_directory_out() -> None:
    makefile = (ROOT / "Makefile").read_text()
    lists = re.findall(r"(?m)^(?:BOOTS|CLOUD) := (.*)$", makefile)
    tops = {f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in TESTS}
    assert sorted(" ".join(lists).split()) == sorted(tops - {"tests/benchmarks"})


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {
        name
        for each in PAGES
        for name in re.findall(r"(?m)(?:`|^    )make ([a-z-]+)", each.read_text())
    }
    assert {"check", "docs", "reference"} <= named
    assert {name for name in named if not re.search(rf"(?m)^{name}:", makefile)} == set()


def test_every_path_that_is_named_exists() -> None:
    pattern = r"`((?:retrofit|scheduler|tests|docs|tools|elements|charm|requirements)/[\w./-]*)`"
    named = {path for each in PAGES for path in re.findall(pattern, each.read_text())}
    assert "elements/README.rst" in named
    assert {path for path in named if not (ROOT / path).exists()} == set()

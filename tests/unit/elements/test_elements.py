"""The form of the elements: what diskimage-builder would skip in silence, or use wrongly."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from diskimage_builder import paths as dib_paths

from tests.devcloud.places import CHECKOUT

ELEMENTS = CHECKOUT / "elements"
OWN = sorted(path for path in ELEMENTS.iterdir() if path.is_dir())
PHASES = ("root.d", "extra-data.d", "pre-install.d", "install.d", "post-install.d", "post-root.d",
          "block-device.d", "pre-finalise.d", "finalise.d", "cleanup.d")  # fmt: skip
HOOKS = sorted(hook for phase in PHASES for hook in ELEMENTS.glob(f"*/{phase}/*"))

# Set by disk-image-create for every script; they are nobody's settings.
GIVEN = {"DIB_DEBUG_TRACE"}


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: str(hook.relative_to(ELEMENTS)))
def test_diskimage_builder_runs_every_script(hook: Path) -> None:
    assert hook.is_file()
    assert re.fullmatch(r"[0-9]{2}-[0-9A-Za-z_-]+", hook.name)
    assert hook.stat().st_mode & 0o111 == 0o111
    assert hook.read_text().startswith("#!/bin/bash\n")


def test_directories_of_scripts_are_those_that_diskimage_builder_knows() -> None:
    found = {path.name for path in ELEMENTS.glob("*/*.d")}

    assert found <= {*PHASES, "environment.d"}


def test_no_two_elements_have_a_script_of_one_name() -> None:
    theirs = Path(dib_paths.get_path("elements"))
    ours = Counter((hook.parent.name, hook.name) for hook in HOOKS)

    assert [name for name, count in ours.items() if count > 1] == []
    assert [name for name in ours if list(theirs.glob(f"*/{name[0]}/{name[1]}"))] == []


def test_top_level_files_of_elements_do_not_meet() -> None:
    # Other than these, which diskimage-builder reads per element, they land in one directory.
    declared = {"README.rst", "element-deps", "element-provides", "package-installs.yaml",
                "pkg-map"}  # fmt: skip
    names = Counter(path.name for path in ELEMENTS.glob("*/*") if path.is_file())

    assert [name for name, count in names.items() if count > 1 and name not in declared] == []


@pytest.mark.parametrize("element", OWN, ids=lambda element: element.name)
def test_every_dependency_exists(element: Path) -> None:
    file = element / "element-deps"
    theirs = Path(dib_paths.get_path("elements"))
    names = file.read_text().split() if file.exists() else []

    assert [
        name for name in names if not any((at / name).is_dir() for at in (ELEMENTS, theirs))
    ] == []


@pytest.mark.parametrize("element", OWN, ids=lambda element: element.name)
def test_what_an_element_uses_it_depends_on(element: Path) -> None:
    file = element / "element-deps"
    names = set(file.read_text().split()) if file.exists() else set()

    if (element / "static").is_dir():
        assert "install-static" in names
    if (element / "package-installs.yaml").exists():
        assert names & {"package-installs", "dpkg", "stock-packages"}
    if (element / "pkg-map").exists():
        assert "pkg-map" in names


@pytest.mark.parametrize("element", OWN, ids=lambda element: element.name)
def test_every_variable_that_is_read_is_documented(element: Path) -> None:
    text = "".join(
        path.read_text()
        for path in element.rglob("*")
        if path.is_file() and path.name != "README.rst"
    )
    read = set(re.findall(r"\b(?:DIB_[A-Z0-9_]+|DISTRO_NAME)\b", text)) - GIVEN
    readme = (element / "README.rst").read_text()
    documented = set(re.findall(r"^   \* - ``([A-Z0-9_]+)``$", readme, re.MULTILINE))

    assert readme.startswith(f"{'=' * len(element.name)}\n{element.name}\n")
    assert read - documented == set(), "read, and not documented"
    assert documented - read == set(), "documented, and not read"


@pytest.mark.parametrize("element", OWN, ids=lambda element: element.name)
def test_the_overview_names_every_element(element: Path) -> None:
    assert f"``{element.name}``" in (ELEMENTS / "README.rst").read_text()


def test_the_agent_comes_from_one_place_only() -> None:
    providers = {
        path.parent.name
        for path in ELEMENTS.glob("*/element-provides")
        if "amphora-agent" in path.read_text().split()
    }

    assert providers == {"amphora-agent-distro", "amphora-agent-pypi"}


def test_no_script_asks_for_a_release() -> None:
    releases = re.compile(r"\b(bionic|focal|jammy|noble|resolute|bookworm|trixie)\b")
    asking = [
        str(path.relative_to(ELEMENTS))
        for path in ELEMENTS.rglob("*")
        if path.is_file() and path.suffix != ".rst" and not path.is_symlink()
        and releases.search(re.sub(r"(?m)^\s*(#|\"\"\").*$", "", path.read_text()))
    ]  # fmt: skip

    assert asking == []


def test_package_files_are_readable_data() -> None:
    for file in ELEMENTS.glob("*/package-installs.yaml"):
        assert isinstance(yaml.safe_load(file.read_text()), dict)

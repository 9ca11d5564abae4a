"""What is installed from the built package is what the checkout has."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

from retrofit.build.recipe import recipe_for
from retrofit.config import BuildSettings

ROOT = Path(__file__).resolve().parents[2]


PIP = [sys.executable, "-m", "pip", "--quiet"]
INSTALL = ["install", "--no-deps", "--no-index"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A directory that holds the installed package and nothing else."""
    target = wheel.parent / "installed"
    subprocess.run([*PIP, *INSTALL, "--target", target, wheel], check=True)
    return target


def built(kind: str, directory: Path) -> Path:
    hatchling = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", directory]
    subprocess.run(hatchling, cwd=ROOT, check=True)
    (made,) = directory.iterdir()
    return made


def printed(installed: Path, code: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", code],
        cwd=installed.parent,
        env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout.strip()


def test_installed_elements_are_found_beside_the_package(installed: Path) -> None:
    code = "from retrofit.system.own_elements import own_elements; print(own_elements())"
    assert printed(installed, code) == str(installed / "retrofit" / "elements")


@pytest.mark.parametrize("agent", ["distro", "pypi"])
def test_installed_recipe_is_that_of_the_checkout(installed: Path, agent: str) -> None:
    """The digest covers names, content and modes: a lost run bit would show."""
    code = (
        "from retrofit.config import BuildSettings; from retrofit.build.recipe import recipe_for;"
        f"print(recipe_for(BuildSettings(agent={agent!r})).digest)"
    )
    assert printed(installed, code) == recipe_for(BuildSettings(agent=agent)).digest


def test_installed_package_has_the_command_and_the_plugin(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info/entry_points.txt")
    text = metadata.read_text()
    assert "retrofit = retrofit.cli:main" in text
    assert "stock_disk = retrofit.dib.stock_disk:StockDisk" in text


def test_man_finds_the_pages_of_an_installed_wheel(wheel: Path) -> None:
    environment = wheel.parent / "environment"
    venv.create(environment)
    subprocess.run([*PIP, "--python", environment, *INSTALL, wheel], check=True)
    pages = environment / "share" / "man"
    for name in ("retrofit", "retrofit-run-once", "retrofit-scheduler"):
        where = ["man", "-M", pages, "-w", name]
        found = subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip()
        assert found == str(pages / "man1" / f"{name}.1")
    assert (pages / "man5" / "retrofit.toml.5").is_file()
    # `man` warns on stderr of what it cannot format.
    warnings = {"MANROFFOPT": "-ww", "PATH": "/usr/bin:/bin", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
    shown = subprocess.run(
        ["man", "--warnings", "-M", pages, "retrofit"],
        env=warnings,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    assert "SYNOPSIS\n       retrofit [OPTIONS] COMMAND" in shown.stdout


def test_sdist_has_the_documentation_and_what_builds_it(tmp_path: Path) -> None:
    with tarfile.open(built("sdist", tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"docs/index.md", "docs/conf.py", "docs/reference/settings.md", "man/retrofit.1"}
    wanted |= {"Makefile", "requirements/docs.txt", "tools/man_pages.py"}
    wanted |= {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"}
    assert wanted - names == set()

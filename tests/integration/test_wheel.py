"""What is installed from the built package is what the checkout has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retrofit.config import BuildSettings
from retrofit.dib import recipe_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds the installed package and nothing else."""
    work = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", work],
        cwd=ROOT,
        check=True,
    )
    (wheel,) = work.glob("*.whl")
    target = work / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", target, wheel], check=True)
    return target


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
    code = "from retrofit.dib.recipe import own_elements; print(own_elements())"
    assert printed(installed, code) == str(installed / "retrofit" / "elements")


@pytest.mark.parametrize("agent", ["distro", "pypi"])
def test_installed_recipe_is_that_of_the_checkout(installed: Path, agent: str) -> None:
    """The digest covers names, content and modes: a lost run bit would show."""
    code = (
        "from retrofit.config import BuildSettings; from retrofit.dib import recipe_for;"
        f"print(recipe_for(BuildSettings(agent={agent!r})).digest)"
    )
    assert printed(installed, code) == recipe_for(BuildSettings(agent=agent)).digest


def test_installed_package_has_the_command_and_the_plugin(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info/entry_points.txt")
    text = metadata.read_text()
    assert "retrofit = retrofit.cli:main" in text
    assert "stock_disk = retrofit.dib.stock_disk:StockDisk" in text

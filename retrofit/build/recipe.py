"""The recipe: everything that decides what is in an amphora image besides the source."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from diskimage_builder import element_dependencies, paths

from retrofit.config import BuildSettings
from retrofit.errors import BuildError, ConfigError

PACKAGE = Path(__file__).resolve().parent.parent
AGENT_ELEMENTS = {"distro": "amphora-agent-distro", "pypi": "amphora-agent-pypi"}
SCHEMA = 1
"""Counted up when the same settings begin to mean another image."""


@dataclass(frozen=True, kw_only=True)
class Element:
    """One diskimage-builder element as it is on disk."""

    name: str
    path: Path
    digest: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is built into an image. Two recipes with the same digest build the same image.

    `wanted` are the elements to ask for, `elements` those and what they depend on, by name.
    `environment` is the part of diskimage-builder's environment that decides contents.
    """

    wanted: tuple[str, ...]
    elements: tuple[Element, ...]
    environment: Mapping[str, str]
    inputs: Mapping[str, str]
    output: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Return the SHA-256 over all of it in canonical JSON; paths have no part in it."""
        document = {
            "schema": SCHEMA,
            "wanted": list(self.wanted),
            "elements": {element.name: element.digest for element in self.elements},
            "environment": dict(self.environment),
            "inputs": dict(self.inputs),
            "output": dict(self.output),
        }
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def recipe_for(build: BuildSettings) -> Recipe:
    """Resolve settings to a recipe. Raises ConfigError for an element that cannot be used.

    How an image is made (proxies, mirrors, CA bundle, time limits, tmpfs) has no part in it.
    """
    wanted = _wanted(build)
    return Recipe(
        wanted=wanted,
        elements=tuple(_resolve(wanted, (*build.element_paths, own_elements()))),
        environment=_environment(build),
        inputs=_inputs(build),
        output=_output(build),
    )


def own_elements() -> Path:
    """Return the directory of our elements: inside an installed package, or beside it."""
    for directory in (PACKAGE / "elements", PACKAGE.parent / "elements"):
        if directory.is_dir():
            return directory
    raise ConfigError(
        f"the elements are neither in {PACKAGE} nor beside it",
        hint="this installation is incomplete: install octavia-retrofit again",
    )


def _wanted(build: BuildSettings) -> tuple[str, ...]:
    ssh = ("amphora-ssh-remove",) if build.ssh == "remove" else ()
    return ("stock-image", "amphora", AGENT_ELEMENTS[build.agent], *ssh, *build.elements)


def _environment(build: BuildSettings) -> dict[str, str]:
    return {
        **build.environment,
        "DIB_STOCK_CLOUD_ARCHIVE": build.cloud_archive or "",
        "DIB_STOCK_PPAS": " ".join(build.ppas),
        "DIB_STOCK_PACKAGES": " ".join(build.packages),
        "DIB_STOCK_UPGRADE": "1" if build.upgrade else "",
        "DIB_AMPHORA_AGENT_VERSION": _of_pypi(build, build.agent_version),
    }


def _inputs(build: BuildSettings) -> dict[str, str]:
    constraints = build.agent_constraints if build.agent == "pypi" else None
    if constraints is None:
        return {}
    try:
        content = constraints.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {constraints}: {error.strerror}", hint="see build.agent_constraints"
        ) from error
    return {"agent_constraints": hashlib.sha256(content).hexdigest()}


def _of_pypi(build: BuildSettings, value: str | None) -> str:
    return value or "" if build.agent == "pypi" else ""


def _output(build: BuildSettings) -> dict[str, str]:
    compression = {"compression": build.compression} if build.format == "qcow2" else {}
    return {"format": build.format, "free_space": str(build.free_space), **compression}


def _resolve(wanted: tuple[str, ...], search_path: tuple[Path, ...]) -> Iterator[Element]:
    where = ":".join(str(path) for path in (*search_path, paths.get_path("elements")))
    try:
        found = element_dependencies.get_elements(wanted, where)
    except (
        element_dependencies.MissingElementException,
        element_dependencies.InvalidElementDir,
    ) as error:
        raise ConfigError(
            str(error), hint=f"build.elements and build.element_paths; looked in {where}"
        ) from error
    except (
        element_dependencies.AlreadyProvidedException,
        element_dependencies.MissingOSException,
    ) as error:
        raise ConfigError(
            f"the elements {' '.join(wanted)} cannot be used together: {error}",
            hint="see build.elements and the element-provides files of those elements",
        ) from error
    for name, path in sorted(found):
        yield Element(name=name, path=Path(path), digest=tree_digest(Path(path)))


def gather(recipe: Recipe, directory: Path) -> None:
    """Copy the recipe's elements, but those of diskimage-builder itself, into `directory`.

    diskimage-builder would otherwise also read package-installs.yaml of elements that another one
    of the same name overrides, and see whatever changes while it runs.
    Raises BuildError when an element is no longer what the recipe's digest says.
    """
    theirs = Path(paths.get_path("elements")).resolve()
    for element in recipe.elements:
        if element.path.is_relative_to(theirs):
            continue
        copy = directory / element.name
        try:
            shutil.copytree(element.path, copy, ignore=shutil.ignore_patterns("__pycache__"))
            digest = tree_digest(copy)
        except (OSError, shutil.Error) as error:
            raise BuildError(
                f"cannot read element {element.name}: {error}", hint=f"look at {element.path}"
            ) from error
        if digest != element.digest:
            raise BuildError(
                f"element {element.name} was changed after this run began",
                hint=f"run again when {element.path} is as it shall be",
            )


def tree_digest(directory: Path) -> str:
    """Return the SHA-256 over names, contents and run bits of the files below `directory`.

    Other mode bits depend on the umask of whoever made the checkout.
    """
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts or not path.exists():
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        runs = "x" if path.stat().st_mode & 0o100 else "-"
        total.update(f"{path.relative_to(directory)}\0{runs}\0{content}\n".encode())
    return total.hexdigest()

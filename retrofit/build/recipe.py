"""The recipe: everything besides the source that decides the content of an amphora image."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from diskimage_builder import element_dependencies, paths

from retrofit.config import BuildSettings
from retrofit.config.files import a_plain_path
from retrofit.errors import BuildError, ConfigError
from retrofit.system.own_elements import own_elements

AGENT_ELEMENTS = {"distro": "amphora-agent-distro", "pypi": "amphora-agent-pypi"}
SCHEMA = 2
"""Raised when the same settings result in another image than before."""
UPGRADE = {"packages": "1", "all": "all", "none": ""}
"""The element's words for `build.upgrade`; the first as in 0.1.0."""
STATIC = "static"
"""Directory of an element whose files install-static copies into the image, modes and all."""


@dataclass(frozen=True, kw_only=True)
class Element:
    """One diskimage-builder element as it is on disk."""

    name: str
    path: Path
    digest: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that is built into an image; recipes with the same digest build the same image.

    `wanted` are the elements on the command line, `elements` those and their dependencies, by
    name. `environment` is the part of diskimage-builder's environment that decides the content.
    """

    wanted: tuple[str, ...]
    elements: tuple[Element, ...]
    environment: Mapping[str, str]
    inputs: Mapping[str, str]
    output: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Return the SHA-256 over the recipe in canonical JSON, without any paths."""
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
    """Return the recipe of settings. Raises ConfigError for an element that cannot be used.

    It leaves out how an image is built: proxies, mirrors, CA bundle, time limits, tmpfs.
    """
    wanted = _wanted(build)
    _require_plain(own_elements())
    return Recipe(
        wanted=wanted,
        elements=tuple(_resolve(wanted, (*build.element_paths, own_elements()))),
        environment=_environment(build),
        inputs=_inputs(build),
        output=_output(build),
    )


def _require_plain(directory: Path) -> None:
    """Raise ConfigError where retrofit lies in a directory that a build's programs do not quote."""
    try:
        a_plain_path(directory)
    except ValueError as error:
        raise ConfigError(
            f"retrofit cannot build from where it is installed, {directory}: it {error}",
            hint="install it in a directory with such a name, such as /opt/retrofit",
        ) from error


def _wanted(build: BuildSettings) -> tuple[str, ...]:
    ssh = ("amphora-ssh-remove",) if build.ssh == "remove" else ()
    return ("stock-image", "amphora", AGENT_ELEMENTS[build.agent], *ssh, *build.elements)


def _environment(build: BuildSettings) -> dict[str, str]:
    return {
        **build.environment,
        "DIB_STOCK_CLOUD_ARCHIVE": build.cloud_archive or "",
        "DIB_STOCK_PPAS": " ".join(build.ppas),
        "DIB_STOCK_PACKAGES": " ".join(build.packages),
        "DIB_STOCK_UPGRADE": UPGRADE[build.upgrade],
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
    """Copy the recipe's elements to `directory`, with modes of their own.

    diskimage-builder would otherwise also read package-installs.yaml of elements that another one
    of the same name overrides, and see changes that are made while it runs. Modes in an image come
    from those of its elements' files, which the umask of an installation decides: so a copy has
    0755 or 0644. Elements of diskimage-builder itself that put no files into an image stay where
    they are.
    Raises BuildError when an element no longer matches the recipe's digest.
    """
    theirs = Path(paths.get_path("elements")).resolve()
    for element in recipe.elements:
        if element.path.is_relative_to(theirs) and not (element.path / STATIC).is_dir():
            continue
        copy = directory / element.name
        try:
            shutil.copytree(element.path, copy, ignore=shutil.ignore_patterns("__pycache__"))
            _normalise(copy)
            digest = tree_digest(copy)
        except (OSError, shutil.Error) as error:
            raise BuildError(
                f"cannot read element {element.name}: {error}", hint=f"look at {element.path}"
            ) from error
        if digest != element.digest:
            raise BuildError(
                f"element {element.name} was changed during this run",
                hint=f"finish the changes in {element.path}, then run again",
            )


def _normalise(directory: Path) -> None:
    """Give directories and files the modes that the digest stands for. Raises OSError."""
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else _mode(path))


def _mode(path: Path) -> int:
    """Return the mode that a file of an element has in a build, whatever the umask left of it."""
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def tree_digest(directory: Path) -> str:
    """Return the SHA-256 over names, contents and modes of the files below `directory`.

    Of a mode only the owner's run bit counts, and decides what a build gives the file: other bits
    depend on the umask at the checkout.
    """
    total = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_dir() or "__pycache__" in path.parts or not path.exists():
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        mode = f"{_mode(path):04o}"
        total.update(f"{path.relative_to(directory)}\0{mode}\0{content}\n".encode())
    return total.hexdigest()

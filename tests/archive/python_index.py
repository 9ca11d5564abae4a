"""A package index of Python as pip and uv read it, and a repository of git, served over http."""

from __future__ import annotations

import html
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, kw_only=True)
class PythonIndex:
    """An index in a directory: that of PEP 503, by whatever serves it."""

    directory: Path

    def add(
        self, name: str, version: str, *, requires: Sequence[str] = (), python: str = ">=3.8"
    ) -> None:
        """Publish a release."""
        project = self.directory / name
        project.mkdir(parents=True, exist_ok=True)
        info = f"{name}-{version}.dist-info"
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        with zipfile.ZipFile(project / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                f"Requires-Python: {python}\n{needs}",
            )
            wheel.writestr(f"{info}/WHEEL", WHEEL)
            wheel.writestr(f"{info}/RECORD", "")
        line = f'<a href="{name}-{version}-py3-none-any.whl" data-requires-python="{{}}">x</a>\n'
        with (project / "index.html").open("a") as page:
            page.write(line.format(html.escape(python)))


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A repository of git that any server of files can serve."""

    directory: Path

    @classmethod
    def made(cls, directory: Path) -> Repository:
        """Make one without commits."""
        directory.mkdir(parents=True)
        repository = cls(directory=directory)
        repository.git("init", "--quiet", "--initial-branch=master")
        return repository

    def commit(self, branch: str = "master") -> str:
        """Add a commit to a branch, and return it."""
        self.git("checkout", "--quiet", "-B", branch)
        self.git("commit", "--quiet", "--allow-empty", "--message", "more")
        self.git("update-server-info")
        return self.git("rev-parse", "HEAD")

    def tag(self, name: str) -> str:
        """Tag the last commit by an object of its own, and return that object."""
        self.git("tag", "--annotate", "--message", name, name)
        self.git("update-server-info")
        return self.git("rev-parse", name)

    def git(self, *words: str) -> str:
        """Run git in it, with nothing of this machine's configuration."""
        who = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
        done = subprocess.run(
            ["git", "-C", self.directory, *who, *words],
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

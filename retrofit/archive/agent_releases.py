"""Ask for the agent's releases what a build would ask: uv an index, or git a repository."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from retrofit.archive.agent import (
    COMMIT,
    Distribution,
    agent_of,
    commit_of,
    moved,
    newer,
    resolved,
)
from retrofit.archive.evidence import STATUS, Evidence
from retrofit.archive.offer import ArchiveError, Update
from retrofit.archive.private_root import PrivateRoot
from retrofit.archive.sources import URI
from retrofit.archive.status import version_of
from retrofit.config import BuildSettings
from retrofit.redaction import redacted

LIMIT = 300.0
"""Seconds for an answer: a hundred small requests to an index."""
CACHE = "agent"
"""Directory of uv's cache: answers of the index, which no build reads."""
DISTRIBUTIONS = "pyroute2"
"""What element amphora-agent-pypi installs besides octavia."""
PLATFORMS: Mapping[str, str] = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC = (28, 40)
"""Minor versions of glibc 2 that uv has platforms for (`uv pip compile --python-platform`)."""
REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*", re.ASCII)
OF_GIT = re.compile(rb"(?m)^[^#\n]*\bgit\+")
OF_REPOSITORY = re.compile(rb"(?m)^[^#\n]*\b(?:git|hg|svn|bzr)\+")


def newer_agent(
    evidence: Evidence, private: PrivateRoot, *, architecture: str, build: BuildSettings
) -> tuple[Update, ...]:
    """Return the agent's distributions that a build would install in a later version.

    None where the agent comes from packages, which the archive answers for. Raises ArchiveError
    when nobody knows.
    """
    installed = agent_of(evidence) if build.agent == "pypi" else ()
    if build.agent == "pypi" and not installed:
        raise ArchiveError("the evidence does not list the agent's Python distributions")
    from_git = [each for each in installed if each.commit]
    if from_git:
        # What they require is in their repositories: only a build reads that.
        found = (_moved(each, private, build) for each in from_git)
        return tuple(update for update in found if update is not None)
    return newer(installed, _resolved(evidence, private, architecture, build)) if installed else ()


def _resolved(
    evidence: Evidence, private: PrivateRoot, architecture: str, build: BuildSettings
) -> dict[str, str]:
    """Return the versions that element amphora-agent-pypi would install."""
    constraints = b""
    if build.agent_constraints is not None:
        constraints = build.agent_constraints.read_bytes()
    if OF_REPOSITORY.search(constraints):
        raise ArchiveError("build.agent_constraints names a repository that the image is not from")
    private.write("constraints.txt", constraints)
    version = "" if build.agent_version is None else f"=={build.agent_version}"
    private.write("requirements.txt", f"octavia{version}\n{DISTRIBUTIONS}\n".encode())
    uv, python = Path(sys.executable).parent / "uv", Path(sys.base_prefix)
    words = [
        *(str(uv), "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
        # The metadata of a source distribution may be a program's answer: none runs here.
        "--no-build",
        # Else what the index said ten minutes ago counts.
        "--refresh",
        *("--python", str(Path(sys.executable).resolve())),
        *_environment_of(evidence, architecture),
        *("--constraints", str(private.path / "etc/constraints.txt")),
        str(private.path / "etc/requirements.txt"),
    ]
    environment = {
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": str(private.path / CACHE),
        "TMPDIR": str(private.path / CACHE),
        **({"UV_DEFAULT_INDEX": build.python_index} if build.python_index else {}),
        **_authorities(private, build, "SSL_CERT_FILE"),
    }
    try:
        answer = private.run(
            *words,
            name="uv pip compile",
            hint="see build.python_index, and that this machine reaches it",
            timeout=LIMIT,
            read=(uv.resolve(), python),
            fill=CACHE,
            environment=environment,
        )
    except ArchiveError:
        # Its cache may be what it cannot read.
        private.forget(CACHE)
        raise
    return resolved(answer.stdout)


def _environment_of(evidence: Evidence, architecture: str) -> Sequence[str]:
    """Return uv's options for the image's Python and machine, by the image's own packages."""
    status = evidence.files[STATUS]
    python = re.match(r"3\.\d+(\.\d+)?", version_of(status, "python3"))
    glibc = re.match(r"2\.(\d+)", version_of(status, "libc6"))
    if python is None:
        raise ArchiveError("the evidence does not name the image's Python")
    if architecture not in PLATFORMS:
        raise ArchiveError(f"uv knows no releases for {architecture} but by a build")
    minor = GLIBC[0] if glibc is None else min(max(int(glibc[1]), GLIBC[0]), GLIBC[1])
    platform = f"{PLATFORMS[architecture]}-manylinux_2_{minor}"
    return ("--python-version", python[0], "--python-platform", platform)


def _moved(distribution: Distribution, private: PrivateRoot, build: BuildSettings) -> Update | None:
    """Ask a repository for the commit of a ref. The address is the image's: data of others."""
    if COMMIT.fullmatch(distribution.ref):
        return None  # a build installs that very commit
    ref = distribution.ref or "HEAD"
    where = redacted(distribution.url)[:200]
    if URI.fullmatch(distribution.url) is None or REF.fullmatch(ref) is None:
        raise ArchiveError(
            f"{distribution.name} is from {where} {ref[:100]}: only addresses of http and https"
            " are asked"
        )
    answer = private.run(
        *("git", "ls-remote", "--", distribution.url, ref, f"{ref}^{{}}"),
        name="git ls-remote",
        hint=f"see that git is installed, and that this machine reaches {where}",
        timeout=LIMIT,
        environment={
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "http:https",
            **_authorities(private, build, "GIT_SSL_CAINFO"),
        },
    )
    commit = commit_of(answer.stdout, ref)
    if commit is None and re.fullmatch(r"[0-9a-f]{7,}", ref):
        return None  # the beginning of a commit
    if commit is None:
        raise ArchiveError(f"{where} has no {ref}, which {distribution.name} is from")
    return moved(distribution, commit)


def _authorities(private: PrivateRoot, build: BuildSettings, name: str) -> dict[str, str]:
    return {} if build.ca_bundle is None else {name: str(private.authorities)}

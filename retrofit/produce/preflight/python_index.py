"""The Python package index, tried by the uv that fills the agent's virtual environment."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from retrofit.archive.agent_releases import OF_GIT
from retrofit.archive.private_root import HOST_CAS
from retrofit.config import BuildSettings
from retrofit.control_plane.language import SERIES
from retrofit.errors import BuildError
from retrofit.produce.preflight.tries import DoubtError
from retrofit.system import process
from retrofit.system.causes import causes

LIMIT = 60.0
"""Seconds for uv to find a version of one package."""
SOURCE_ALONE = re.compile(r"(?i)building (from source|source distributions)\b.* is disabled")
"""uv's words where `--no-build` is in the way."""


def try_python_index(build: BuildSettings, series: str | None) -> str:
    """Have uv find the agent's package, as element amphora-agent-pypi will install it.

    No program of a package runs, and no repository is fetched: that is for a build, in its chroot.
    Raises BuildError with uv's own reason, DoubtError where only a build can tell.
    """
    if build.agent != "pypi":
        return "not needed: build.agent is distro"
    if _is_from_git(build):
        return "not tried: build.agent_constraints names a repository"
    wanted = "octavia" + (f"=={build.agent_version}" if build.agent_version else "")
    known = SERIES.get(series or "")
    tools = Path(sys.executable).parent
    words: list[str | Path] = [
        *(tools / "uv", "pip", "compile", "-", "--no-deps", "--no-header", "--no-annotate"),
        # The metadata of a source distribution may be a program's answer.
        "--no-build",
        *("--python", sys.executable),
    ]
    if known is not None:
        words += ["--python-version", ".".join(known.python.split(".")[:2])]
    if build.agent_constraints is not None:
        words += ["--constraints", build.agent_constraints.absolute()]
    with TemporaryDirectory(prefix="retrofit-index.") as directory:
        try:
            found = process.run(
                words,
                timeout=LIMIT,
                env=_environment(build, Path(directory)),
                cwd=Path(directory),
                stdin=f"{wanted}\n".encode(),
            ).stdout
        except process.CommandError as error:
            if SOURCE_ALONE.search(error.stderr):
                raise DoubtError(
                    f"uv finds {wanted} as source alone, which only a build tries",
                    hint="see build.agent_version and build.agent_constraints for a release with"
                    " wheels, if the build fails",
                ) from error
            raise BuildError(
                f"uv cannot find {wanted}{_way(build)}: {_reason(error)}",
                hint="check build.python_index, build.agent_version, build.agent_constraints,"
                " build.https_proxy and build.ca_bundle",
            ) from error
        except OSError as error:
            raise _unreadable(error) from error
    return f"uv finds {' '.join(found.split())}"


def _is_from_git(build: BuildSettings) -> bool:
    try:
        constraints = build.agent_constraints
        return constraints is not None and OF_GIT.search(constraints.read_bytes()) is not None
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> BuildError:
    return BuildError(
        f"cannot try the Python package index: {error.strerror or error}",
        hint="see that build.ca_bundle and build.agent_constraints can be read, and TMPDIR be"
        " written to",
    )


def _environment(build: BuildSettings, directory: Path) -> dict[str, str]:
    """Return uv's environment as the build has it: nothing of ours."""
    settings = {
        "UV_DEFAULT_INDEX": build.python_index,
        "http_proxy": build.http_proxy,
        "https_proxy": build.https_proxy,
        "no_proxy": build.no_proxy,
    }
    if build.ca_bundle is not None:
        cas = directory / "ca.pem"
        cas.write_bytes(
            (HOST_CAS.read_bytes() if HOST_CAS.exists() else b"") + build.ca_bundle.read_bytes()
        )
        settings["SSL_CERT_FILE"] = str(cas)
    return {
        "PATH": os.defpath,
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "NO_COLOR": "1",
        "UV_NO_CACHE": "1",
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        **{name: value for name, value in settings.items() if value},
    }


def _way(build: BuildSettings) -> str:
    """Return which proxies are in between: uv names none."""
    proxies = dict.fromkeys(each for each in (build.http_proxy, build.https_proxy) if each)
    return f" by way of {' or '.join(proxies)}" if proxies else ""


def _reason(error: process.CommandError) -> str:
    lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
    return "; ".join(causes(error.stderr.splitlines()) or lines[:6]) or error.message

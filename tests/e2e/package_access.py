"""How this machine reaches package archives, for systems that the tests make on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.devcloud import stock
from tests.devcloud.places import CACHE, digest_of, locked

SUITE = "bookworm"
MAKE_SECONDS = 900
# Paths of this machine mean nothing inside another system.
PIP_SETTINGS = {"index-url", "extra-index-url", "proxy", "trusted-host", "timeout"}


def ca_bundle() -> Path | None:
    """The CA certificates that this machine is told to trust for its downloads, if it is."""
    named = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT")
    return Path(named) if named and Path(named).is_file() else None


def apt_sources() -> str:
    """A deb822 sources file for the suite, from this machine's own archive."""
    return stock.sources_for(SUITE, stock.archive_of_host())


def apt_options() -> str:
    """What this machine's apt needs besides: proxies, certificates."""
    return "\n".join([*stock.apt_options_of_host(), ""])


def pip_configuration(ca: str | None) -> str:
    """A pip.conf with this machine's index and proxy, and `ca` as its CA bundle."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    found = {}
    for line in said.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2].strip(".")
        reachable = [each for each in value.strip("'").split() if not each.startswith("file:")]
        if name in PIP_SETTINGS and reachable:
            found[name] = " ".join(reachable)
    if ca is not None:
        found["cert"] = ca
    return "\n".join(["[global]", *(f"{key} = {value}" for key, value in found.items()), ""])


def debian_root(packages: list[str], *, kind: str, sources: bool) -> Path:
    """A tar file of a minimal Debian with these packages, made once per checkout.

    Without `sources` its apt knows no archive.
    """
    key = digest_of([Path(__file__), Path(stock.__file__)])
    listed = CACHE / f"{kind}.packages"
    tar = CACHE / f"{kind}-{key}.tar"
    wanted = " ".join(packages)
    with locked(CACHE / f"{kind}.lock"):
        if not (tar.exists() and listed.exists() and listed.read_text() == wanted):
            for outdated in CACHE.glob(f"{kind}-*.tar"):
                outdated.unlink()
            _bootstrap(tar, packages, sources=sources)
            listed.write_text(wanted)
    return tar


def _bootstrap(tar: Path, packages: list[str], *, sources: bool) -> None:
    part = tar.with_suffix(".part.tar")
    forget = ["--customize-hook=rm -rf $1/etc/apt/sources.list $1/etc/apt/sources.list.d/*"]
    options = [f"--aptopt={line}" for line in apt_options().splitlines()]
    include = [f"--include={','.join(packages)}"] if packages else []
    try:
        subprocess.run(
            [
                *("mmdebstrap", "--mode=root", "--variant=minbase", "--quiet"),
                *('--aptopt=APT::Install-Recommends "false"', "--dpkgopt=force-unsafe-io"),
                *(*options, *include, *([] if sources else forget)),
                *(SUITE, part, "-"),
            ],
            input=apt_sources(),
            text=True,
            check=True,
            timeout=MAKE_SECONDS,
        )
        part.rename(tar)
    finally:
        part.unlink(missing_ok=True)

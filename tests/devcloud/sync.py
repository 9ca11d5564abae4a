"""The real synchroniser, run as glance-simplestreams-sync runs it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.devcloud import accounts
from tests.devcloud.accounts import REGION
from tests.devcloud.places import DevcloudError, server_program
from tests.devcloud.servers import Cloud

UBUNTU_KEYRING = Path("/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg")
CONTENT_ID = "auto.sync"
NAME_PREFIX = "auto-sync/"
SYNC_SECONDS = 1800.0


class SyncError(DevcloudError):
    """The synchroniser failed; the message holds the end of what it said."""


def sync(
    cloud: Cloud,
    *,
    source: str,
    keyring: Path,
    filters: Sequence[str],
    account: str = "demo-sync",
    most: int | None = None,
    keep: bool = False,
) -> None:
    """Copy what `filters` select from a mirror (URL or directory) into Glance.

    At most `most` versions of each product stay in Glance; with `keep`, versions that the mirror
    has withdrawn count among them. Raises SyncError.
    """
    if not keyring.exists():
        raise SyncError(f"keyring {keyring} does not exist")
    limits = [*(["--max", str(most)] if most is not None else []), *(["--keep"] if keep else [])]
    _run(
        cloud,
        account,
        "sstream-mirror-glance",
        "--verbose",
        "--keyring", keyring,
        "--cloud-name", "devcloud",
        "--content-id", CONTENT_ID,
        "--name-prefix", NAME_PREFIX,
        "--region", REGION,
        "--visibility", "public",
        *limits,
        source,
        *filters,
    )  # fmt: skip
    # The synchroniser is content to find nothing; whoever calls it here is not.
    selected = _run(cloud, account, "sstream-query", "--keyring", keyring, source, *filters)
    if not selected.strip():
        raise SyncError(f"nothing in {source} matches {' '.join(filters)}")


def _run(cloud: Cloud, account: str, program: str, *arguments: str | Path) -> str:
    """Run one of simplestreams' programs, and return what it printed, which sync.log gets too."""
    done = subprocess.run(
        [server_program(program), *arguments],
        env=_environment(cloud, account),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=SYNC_SECONDS,
        check=False,
    )
    log = cloud.state / "log" / "sync.log"
    with log.open("a") as sink:
        sink.write(done.stdout)
    if done.returncode != 0:
        end = "\n".join(done.stdout.splitlines()[-8:])
        raise SyncError(f"{program} ended with exit code {done.returncode}:\n{end}\nlog: {log}")
    return done.stdout


def filters_for(
    *, series: Sequence[str] = (), arch: str = "amd64", items: Sequence[str] = ("disk1.img",)
) -> list[str]:
    """Item filters as deployments write them."""
    chosen = [f"release~({'|'.join(series)})"] if series else []
    return [*chosen, f"arch={arch}", f"ftype~({'|'.join(items)})"]


def _environment(cloud: Cloud, account: str) -> dict[str, str]:
    known = {each.cloud: each for each in (*accounts.ACCOUNTS, accounts.ADMIN) if each.cloud}
    if account not in known:
        raise SyncError(f"unknown cloud {account!r}: known are {', '.join(known)}")
    auth = accounts.auth_of(known[account], cloud.keystone_url)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return {
        **inherited,
        "OS_REGION_NAME": REGION,
        "OS_IDENTITY_API_VERSION": "3",
        **{f"OS_{name.upper()}": value for name, value in auth.items()},
    }


def source_of(mirror: Path | str) -> str:
    """A mirror as the synchroniser takes it: a URL stays, a directory becomes a file URL."""
    text = str(mirror)
    if urlsplit(text).scheme in ("http", "https", "file"):
        return text
    if not (Path(text) / "streams" / "v1").is_dir():
        raise SyncError(f"{text} is not a simplestreams mirror: it has no streams/v1")
    return f"file://{Path(text).resolve()}/"

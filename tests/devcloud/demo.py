"""From nothing to a promoted amphora image, by the commands that a developer would type."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tests.devcloud.places import spare_loopback_from_proxies

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / ".demo"
CLOUD = DEMO / "cloud"
MIRROR = DEMO / "mirror"
REPORT = DEMO / "report.json"
CONFIG = DEMO / "retrofit.toml"
STOCK = DEMO / "stock-noble.qcow2"
UBUNTU_MIRROR = "https://cloud-images.ubuntu.com/releases/"
RETROFIT = Path(sys.executable).with_name("retrofit")

# The look-alike has an Ubuntu product name and is a Debian inside. Amphorae never run in the demo,
# so nothing has to wait before an old image is retired.
SETTINGS = """\
[cloud]
name = "demo"
clouds_yaml = "{clouds_yaml}"

[source]
series = ["noble"]
allow_os_mismatch = {mismatch}

[mirror]
{mirror}

[build]
{build}

[publish]
keep = 2
retire_after = 0

[paths]
state = "{demo}/state"
cache = "{demo}/cache"
work = "{demo}/work"
logs = "{demo}/logs"
"""


@click.group()
def demo() -> None:
    """Show retrofit at work, on this machine alone."""
    spare_loopback_from_proxies()


@demo.command()
@click.option("--source", type=click.Choice(["mirror", "ubuntu"]), default="mirror")
def up(source: str) -> None:
    """Start the cloud, sync a stock image into it, and let retrofit bring it up to date."""
    DEMO.mkdir(exist_ok=True)
    with told("starting Keystone and Glance on 127.0.0.1"):
        devcloud("up", "--state", CLOUD)
    shutil.copyfile(CLOUD / "clouds.yaml", DEMO / "clouds.yaml")
    (DEMO / "clouds.yaml").chmod(0o600)
    CONFIG.write_text(
        SETTINGS.format(
            clouds_yaml=DEMO / "clouds.yaml",
            mismatch=str(source == "mirror").lower(),
            mirror="\n".join(mirror_settings(source)),
            build="\n".join(build_settings()),
            demo=DEMO,
        )
    )
    if source == "ubuntu":
        with told("syncing noble from Ubuntu's own mirror"):
            devcloud("sync", "--state", CLOUD, "--mirror-url", UBUNTU_MIRROR, "--series", "noble")
    else:
        with told("making a stock image in noble's disk layout"):
            devcloud("stock", "--layout", "noble", "--output", STOCK)
        publish_and_sync(f"{datetime.now(UTC):%Y%m%d}")
    with told("retrofit run-once"):
        finished = subprocess.run(
            [RETROFIT, "--config", CONFIG, "run-once", "-o", "json"],
            stdout=subprocess.PIPE,
            check=False,
        )
    REPORT.write_bytes(finished.stdout)
    report = json.loads(finished.stdout or b"{}")
    if finished.returncode != 0:
        error = report.get("error") or {}
        click.secho(f"\nretrofit ended with exit code {finished.returncode}", fg="red")
        click.echo(f"{error.get('message', '')}\nhint: {error.get('hint', '')}")
        sys.exit(finished.returncode)
    tell_the_story(report)


@demo.command()
def serial() -> None:
    """Publish the stock image under a newer serial and sync it, as Ubuntu does every week."""
    if not CONFIG.exists():
        raise click.ClickException("the demo is not up: run `make demo` first")
    publish_and_sync(f"{datetime.now(UTC):%Y%m%d.%H%M%S}")
    click.echo(f"now type: {shown('plan')}")


@demo.command()
def down() -> None:
    """Stop the cloud and delete everything that the demo made."""
    if CLOUD.exists():
        devcloud("down", "--state", CLOUD, "--wipe")
    shutil.rmtree(DEMO, ignore_errors=True)
    click.echo("the demo is gone")


def mirror_settings(source: str) -> Iterator[str]:
    """What vouches for the source: the index of the mirror that it was synchronised from."""
    if source == "ubuntu":
        yield f'url = "{UBUNTU_MIRROR}"'
    else:
        yield f'url = "file://{MIRROR}/"'
        yield f'keyring = "{MIRROR}/keyring.gpg"'


def publish_and_sync(version: str) -> None:
    """Add a version to the signed mirror and let the real synchroniser fetch it."""
    with told(f"publishing serial {version} in the signed mirror"):
        touch = [] if not MIRROR.exists() else ["--touch"]
        devcloud(
            "mirror", "publish", "--mirror", MIRROR, "--image", STOCK, "--series", "noble",
            "--serial", version, *touch,
        )  # fmt: skip
    with told("syncing it into Glance with sstream-mirror-glance"):
        devcloud("sync", "--state", CLOUD, "--mirror", MIRROR)


def build_settings() -> list[str]:
    """Carry over what this machine needs to reach its package archives."""
    lines = []
    bundle = os.environ.get("SSL_CERT_FILE") or os.environ.get("PIP_CERT")
    if bundle and Path(bundle).is_file():
        lines.append(f'ca_bundle = "{bundle}"')
    for variable in ("http_proxy", "https_proxy", "no_proxy"):
        value = os.environ.get(variable) or os.environ.get(variable.upper())
        if value:
            lines.append(f'{variable} = "{value}"')
    return lines


def tell_the_story(report: dict[str, Any]) -> None:
    """Print which image is promoted, from what, why, and what to type next."""
    source = report["source"]
    verification = report["verification"]
    click.secho(f"\n{report['outcome']}: image {report['image_id']}", bold=True)
    click.echo(f"  made from   {source['product']} {source['version']} ({source['id']})")
    for reason in report["reasons"]:
        click.echo(f"  because     {reason}")
    if verification:
        passed = sum(check["outcome"] == "passed" for check in verification["checks"])
        click.echo(f"  verified    {verification['how']}: {passed} checks passed")
    steps = ", ".join(f"{step['name']} {step['seconds']} s" for step in report["steps"])
    click.echo(f"  steps       {steps}")
    click.echo(f"  logs        {report['log_dir']}")
    click.echo("\nThe cloud is still running. Next:")
    click.echo(f"  {shown('status')}")
    click.echo(f"  {shown('run-once')}      # unchanged: there is nothing to do")
    click.echo("  make demo-serial      # a newer stock image appears; then `plan`, `run-once`")
    click.echo("  make demo-down        # stop the cloud, delete all of it")


def shown(command: str) -> str:
    """Return a command line as a person would type it here."""
    return f".venv/bin/retrofit --config .demo/retrofit.toml {command}"


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what is being done and how long it took."""
    click.secho(f"==> {what}", bold=True)
    begun = time.monotonic()
    yield
    click.echo(f"    {time.monotonic() - begun:.0f} s")


def devcloud(*arguments: str | Path) -> None:
    """Run one of the development cloud's commands; its failure ends the demo."""
    words = [sys.executable, "-m", "tests.devcloud", *map(str, arguments)]
    finished = subprocess.run(words, cwd=ROOT, check=False)
    if finished.returncode != 0:
        raise click.ClickException(f"{' '.join(words[2:])} failed")


if __name__ == "__main__":
    demo()

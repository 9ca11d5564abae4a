"""From nothing to a promoted amphora image, by the commands that a developer would type."""

from __future__ import annotations

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

from tests.answers import answer
from tests.devcloud import package_archive
from tests.devcloud.places import spare_loopback_from_proxies

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / ".demo"
CLOUD = DEMO / "cloud"
MIRROR = DEMO / "mirror"
ARCHIVE = DEMO / "archive"
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

# Nothing has to wait in the demo, and every image but the promoted one is too old.
ROLLOVER = """
[octavia]
cloud = "demo-admin"

[rollover]
soak = 0
pause = 0
canary_soak = 0
outages = "always"
older_than = 0
"""


@click.group()
def demo() -> None:
    """Show retrofit at work, on this machine alone."""
    spare_loopback_from_proxies()


@demo.command()
@click.option("--source", type=click.Choice(["mirror", "ubuntu"]), default="mirror")
@click.option("--octavia", is_flag=True, help="Start a real Octavia too, with load balancers.")
def up(source: str, octavia: bool) -> None:
    """Start the cloud, sync a source image into it, and let retrofit bring it up to date."""
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
        + (ROLLOVER if octavia else "")
    )
    if source == "ubuntu":
        with told("syncing noble from Ubuntu's own mirror"):
            devcloud("sync", "--state", CLOUD, "--mirror-url", UBUNTU_MIRROR, "--series", "noble")
    else:
        with told("making a source image in noble's disk layout"):
            devcloud("stock", "--layout", "noble", "--output", STOCK)
        with told("giving it a signed package archive of its own"):
            serve_archive()
        publish_and_sync(f"{datetime.now(UTC):%Y%m%d}")
    with told("retrofit run-once"):
        finished = subprocess.run(
            [RETROFIT, "--config", CONFIG, "run-once", "-o", "json"],
            stdout=subprocess.PIPE,
            check=False,
        )
    REPORT.write_bytes(finished.stdout)
    report = answer((finished.stdout or b"{}").decode())
    if finished.returncode != 0:
        error = report.get("error") or {}
        click.secho(f"\nretrofit ended with exit code {finished.returncode}", fg="red")
        click.echo(f"{error.get('message', '')}\nhint: {error.get('hint', '')}")
        sys.exit(finished.returncode)
    if octavia:
        with told(
            "starting Octavia and three load balancers, whose compute is Octavia's no-op driver"
        ):
            devcloud("load-balancers", "--state", CLOUD)
    tell_the_story(report, octavia=octavia)


@demo.command()
def serial() -> None:
    """Publish the source image under a newer serial and sync it, as Ubuntu does every week."""
    if not CONFIG.exists():
        raise click.ClickException("the demo is not up: run `make demo` first")
    publish_and_sync(f"{datetime.now(UTC):%Y%m%d.%H%M%S}")
    click.echo(f"now type: {shown('plan')}")


@demo.command()
def fix() -> None:
    """Publish a fix of HAProxy in the package archive that the source image names."""
    packages = sorted((DEMO / "cache/packages").glob("*/haproxy_*.deb"))
    if not ARCHIVE.exists() or not packages:
        raise click.ClickException("the demo is not up: run `make demo` first")
    fixed = package_archive.publish_fix(ARCHIVE, packages[-1])
    click.echo(f"published: {fixed.name} {fixed.version}, a security fix")
    click.echo(f"now type: {shown('plan')}")
    click.echo(f"then:     {shown('run-once')}")


@demo.command()
def down() -> None:
    """Stop the cloud and delete everything that the demo made."""
    if CLOUD.exists():
        devcloud("down", "--state", CLOUD, "--wipe")
    package_archive.stop(ARCHIVE)
    shutil.rmtree(DEMO, ignore_errors=True)
    click.echo("the demo is gone")


def serve_archive() -> None:
    """Serve a package archive, and let the source image name it."""
    if ARCHIVE.exists():
        package_archive.stop(ARCHIVE)
        package_archive.serve(ARCHIVE)
        archive = package_archive.archive_in(ARCHIVE)
    else:
        archive = package_archive.make(ARCHIVE)
    package_archive.plant(archive, STOCK)


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


def tell_the_story(report: dict[str, Any], *, octavia: bool) -> None:
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
    click.echo("  make demo-serial      # a newer source image appears; then `plan`, `run-once`")
    click.echo("  make demo-fix         # a security fix is published; then `plan`, `run-once`")
    if octavia:
        click.echo(f"  {shown('rollover')}      # after a promotion: move the load balancers")
        click.echo(f"  {shown('audit')}         # what runs on what")
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

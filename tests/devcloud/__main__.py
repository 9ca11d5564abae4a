"""`python -m tests.devcloud`: the development cloud's command line."""

from __future__ import annotations

import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import get_args

import click

from tests.devcloud import cloud as clouds
from tests.devcloud import load_balancers, octavia, stock
from tests.devcloud import sync as synchroniser
from tests.devcloud.mirror import SERIES, Mirror, Stream
from tests.devcloud.places import CACHE, DevcloudError
from tests.devcloud.server_config import Limits

state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory that holds everything of one cloud.",
)


@click.group()
def devcloud() -> None:
    """Keystone and Glance on loopback, source images, and their mirror."""


@devcloud.command()
@state_option
@click.option("--token-ttl", type=int, help="Seconds until a token expires.")
@click.option("--image-size-cap", type=int, help="Largest image that Glance takes, bytes.")
@click.option("--user-storage-quota", help='As Glance takes it, such as "16MB".')
@click.option(
    "--extra-glance",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File whose lines are appended to glance-api.conf.",
)
def up(
    state: Path,
    token_ttl: int | None,
    image_size_cap: int | None,
    user_storage_quota: str | None,
    extra_glance: Path | None,
) -> None:
    """Start the cloud, making it first if there is none, and print where it is."""
    given = {
        "token_ttl": token_ttl,
        "image_size_cap": image_size_cap,
        "user_storage_quota": user_storage_quota,
        "extra_glance": None if extra_glance is None else extra_glance.read_text(),
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    was_up = (state / "cloud.json").exists() and clouds.is_up(clouds.load(state))
    if was_up and chosen:
        raise DevcloudError(f"the cloud in {state} is up: take it `down` before changing it")
    running = clouds.up(state, limits=Limits(**chosen) if chosen else None)  # type: ignore[arg-type]
    click.echo("already up" if was_up else "up", err=True)
    click.echo(f"keystone    {running.keystone_url}/v3")
    click.echo(f"glance      {running.glance_url}")
    click.echo(f"clouds.yaml {running.clouds_yaml}")


@devcloud.command()
@state_option
@click.option("--wipe", is_flag=True, help="Delete the state directory as well.")
def down(state: Path, wipe: bool) -> None:
    """Stop what `up` started."""
    clouds.down(state, wipe=wipe)


@devcloud.command("stock")
@click.option("--layout", type=click.Choice(stock.LAYOUTS), required=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=CACHE / "stock",
    help="Where images that were made are kept; .cache/stock of the checkout if not given.",
)
def make_stock(layout: stock.Layout, output: Path | None, cache: Path) -> None:
    """Make a source image in one of Ubuntu's disk layouts, unless the cache has it."""
    image = stock.make(layout, cache=cache, tell=lambda line: click.echo(line, err=True))
    if output is not None:
        stock.copy_to(image, output)
    click.echo(output or image)


@devcloud.group()
def mirror() -> None:
    """The simplestreams mirror."""


@mirror.command()
@click.option("--mirror", "root", type=click.Path(path_type=Path), required=True)
@click.option("--image", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--series", type=click.Choice(list(SERIES)), required=True)
@click.option("--serial", required=True, help="Version name, such as 20260911 or 20260911.1.")
@click.option("--stream", type=click.Choice(get_args(Stream)), default="released")
@click.option("--arch", default="amd64", help="As Debian names it.")
@click.option("--touch", is_flag=True, help="Give the version a digest of its own.")
def publish(
    root: Path, image: Path, series: str, serial: str, stream: Stream, arch: str, touch: bool
) -> None:
    """Add a version to a mirror, which is made and signed as needed."""
    product = Mirror(root=root).publish(
        image, series=series, serial=serial, stream=stream, arch=arch, touch=touch
    )
    click.echo(f"{product} {serial}")


@devcloud.command()
@state_option
@click.option("--mirror", "root", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--mirror-url", help="A mirror elsewhere, instead of --mirror.")
@click.option(
    "--keyring",
    type=click.Path(path_type=Path),
    help="Keys that may sign; the mirror's own, or with --mirror-url Ubuntu's.",
)
@click.option("--cloud", "account", default="demo-sync", help="Entry of clouds.yaml to sync as.")
@click.option("--max", "most", type=int, help="Versions of a product to have in Glance at most.")
@click.option("--keep", type=int, help="As --max, and keep what the mirror has withdrawn.")
@click.option("--series", multiple=True, type=click.Choice(list(SERIES)))
@click.option("--arch", default="amd64")
@click.argument("filters", nargs=-1)
def sync(
    state: Path,
    root: Path | None,
    mirror_url: str | None,
    keyring: Path | None,
    account: str,
    most: int | None,
    keep: int | None,
    series: tuple[str, ...],
    arch: str,
    filters: tuple[str, ...],
) -> None:
    """Copy disk images from a mirror into Glance with the real synchroniser.

    FILTERS such as `release=noble` take the place of --series and --arch.
    """
    if (root is None) == (mirror_url is None):
        raise click.UsageError("give one of --mirror and --mirror-url")
    if root is not None:
        source, own_keyring = str(root), Mirror(root=root).keyring
    else:
        source, own_keyring = str(mirror_url), synchroniser.UBUNTU_KEYRING
        if most is None and keep is None:
            # A public mirror has dozens of serials; synchronisers' own default is one as well.
            most = 1
    begun = datetime.now()
    synchroniser.sync(
        clouds.load(state),
        source=synchroniser.source_of(source),
        keyring=keyring or own_keyring,
        filters=list(filters) or synchroniser.filters_for(series=series, arch=arch),
        account=account,
        most=keep if keep is not None else most,
        keep=keep is not None,
    )
    click.echo(f"synced in {(datetime.now() - begun).total_seconds():.0f} s", err=True)


@devcloud.command("load-balancers")
@state_option
def load_balancers_up(state: Path) -> None:
    """Start Octavia beside a cloud, and have it build a few load balancers."""
    for name, load_balancer in load_balancers.up(state).items():
        click.echo(f"{name:6} {load_balancer}")


@devcloud.command("octavia-answer")
@state_option
@click.option("--tag", default="octavia-amphora")
@click.option("--owner", help="Project id, Octavia's amp_image_owner_id.")
def octavia_answer(state: Path, tag: str, owner: str | None) -> None:
    """Print the id of the image that Octavia would take."""
    click.echo(octavia.answer(clouds.load(state), tag=tag, owner=owner))


def main() -> None:
    """Run a command; a failure that was foreseen is a message, not a traceback."""
    # TERM ends us the way Ctrl-C does: whatever is under way undoes its work.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        devcloud(standalone_mode=True)
    except DevcloudError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()

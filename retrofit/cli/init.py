"""`config init`: a first configuration, with the reason of each line."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from retrofit.cli.configuration import config
from retrofit.errors import ConfigError

DEFAULT = Path("/etc/retrofit/retrofit.toml")
TEMPLATE = """\
# Configuration of retrofit. Every setting: docs/reference/settings.md, `retrofit config show`.

[cloud]
# The entry of clouds.yaml whose project owns the amphora images; role `member` is enough.
name = "{cloud}"

[source]
# Ubuntu series, the preferred one first: the next one is used where an image is missing.
series = [{series}]

[publish]
# As amp_image_tag in octavia.conf. Set amp_image_owner_id there to the project of [cloud].
tag = "{tag}"

[web]
# The worker's status page and metrics, on 127.0.0.1:9817.
enabled = {web}

# [notify]
# Where changes are reported: no image, an image again, failed, recovered, published, stale.
# url = "https://alerts.example.com/retrofit"
"""


@config.command("init")
@click.option("--cloud", metavar="NAME", help="Entry of clouds.yaml.")
@click.option("--series", metavar="NAMES", help="Ubuntu series: `noble,jammy`.")
@click.option("--tag", metavar="TAG", help="Tag by which Octavia finds its image.")
@click.option("--web/--no-web", default=None, help="Serve the status page on 127.0.0.1.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT)
def config_init(
    file: Path, cloud: str | None, series: str | None, tag: str | None, web: bool | None
) -> None:
    """Write a first configuration, with the reason of each line.

    On a terminal it asks for what no option names; else the defaults hold. An existing FILE is not
    overwritten. FILE is /etc/retrofit/retrofit.toml unless named.
    """
    from retrofit.config.file import parse  # noqa: PLC0415

    if file.exists():
        raise ConfigError(f"{file} exists", hint="edit it, or name another file")
    text = TEMPLATE.format(
        cloud=_asked(cloud, "Entry of clouds.yaml", os.environ.get("OS_CLOUD", "production")),
        series=", ".join(
            f'"{name.strip()}"'
            for name in _asked(series, "Ubuntu series, preferred first", "noble,jammy").split(",")
        ),
        tag=_asked(tag, "Tag by which Octavia finds its image", "octavia-amphora"),
        web="true" if _agreed(web, "Serve the status page on 127.0.0.1?") else "false",
    )
    parse(text.encode(), file)  # a wrong answer is refused before anything is written
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x") as opened:
            opened.write(text)
        file.chmod(0o640)
    except OSError as error:
        raise ConfigError(
            f"cannot write {file}: {error.strerror}", hint="run as root, or name another file"
        ) from error
    click.echo(f"written: {file}; next: `retrofit --config {file} config check`, then `plan`")


def _is_asked() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _asked(given: str | None, question: str, default: str) -> str:
    if given is not None or not _is_asked():
        return given or default
    return str(click.prompt(question, default=default, err=True))


def _agreed(given: bool | None, question: str) -> bool:
    if given is not None or not _is_asked():
        return bool(given)
    return click.confirm(question, default=True, err=True)

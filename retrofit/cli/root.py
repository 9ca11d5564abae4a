"""The command `retrofit` itself: what all its subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrofit import __version__
from retrofit.errors import ConfigError

if TYPE_CHECKING:  # the OpenStack libraries take a second to import: only where they are used
    from retrofit.config import Settings, Target

EPILOG = """\
Exit codes: 0 published or nothing to do; 1 a bug; 2 configuration or arguments; 3 cloud unreachable
or denied; 4 no usable source image; 5 build failed; 6 verification failed; 7 publishing failed;
75 another run holds the lock; 130 interrupted.
"""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What every command needs to know of the command line."""

    config: Path | None
    output: str
    target: str | None

    def settings(self) -> Settings:
        """Read the configuration."""
        from retrofit.settings_file import load  # noqa: PLC0415

        return load(self.config)

    def targets(self, settings: Settings) -> list[Target]:
        """Return the targets that the command is about: those named, or all."""
        if self.target is None:
            return list(settings.targets)
        known = [target.name for target in settings.targets]
        named = self.target.split(",")
        unknown = [name for name in named if name not in known]
        if unknown:
            raise ConfigError(
                f"there is no target {unknown[0]}",
                hint=f"the configuration has: {', '.join(known)}",
            )
        return [target for target in settings.targets if target.name in named]


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="retrofit")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="RETROFIT_CONFIG",
    help="Configuration file.  [default: /etc/retrofit/retrofit.toml]",
)
@click.option("--target", help="Only this target of the configuration, or several: `a,b`.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Form of the answer on stdout.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say more.")
@click.pass_context
def retrofit(
    context: click.Context, config: Path | None, target: str | None, output: str, verbose: bool
) -> None:
    """Keep the image that OpenStack Octavia starts its load balancers from current.

    Watches the synchronised Ubuntu images in Glance, turns the newest one into an HAProxy amphora
    image, boots it to see that it works, uploads and tags it, and rotates older ones.
    """
    from retrofit.terminal import configure_logging  # noqa: PLC0415

    configure_logging(verbose=verbose)
    context.obj = Invocation(config=config, output=output, target=target)
    context.meta["verbose"] = verbose


def output_here(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let `-o json` and `--target` stand after the command too, where people type them."""

    def remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            given = context.obj
            context.obj = Invocation(
                config=given.config,
                output=value if parameter.name == "output" else given.output,
                target=value if parameter.name == "target" else given.target,
            )

    for decorate in (
        click.option(
            "-o",
            "--output",
            type=click.Choice(["table", "json", "yaml"]),
            expose_value=False,
            callback=remember,
            help="Form of the answer on stdout.",
        ),
        click.option(
            "--target",
            expose_value=False,
            callback=remember,
            help="Only this target of the configuration, or several: `a,b`.",
        ),
        click.pass_context,
    ):
        command = decorate(command)
    return command

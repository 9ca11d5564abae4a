"""The command `retrofit` itself: what all its subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from retrofit import __version__
from retrofit.cli.form import FORMATS, Form
from retrofit.cli.groups import Commands
from retrofit.errors import RetrofitError

if TYPE_CHECKING:  # the OpenStack libraries take a second to import: only where they are used
    from retrofit.config import Settings, Target

EPILOG = """\
Exit codes: 0 published or nothing to do; 1 internal error; 2 configuration or arguments; 3 cloud
unreachable or denied; 4 no usable source image; 5 build failed; 6 verification failed; 7 publishing
failed; 8 degraded, 9 no image (status --exit-code), 8 a rollover halted; 75 another run holds the
lock; 130 interrupted.
"""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What every command needs to know of the command line."""

    config: Path | None
    output: Form
    target: str | None
    os_cloud: str | None = None

    def settings(self) -> Settings:
        """Read the configuration."""
        from retrofit.config.file import load  # noqa: PLC0415

        settings = load(self.config)
        return settings if self.os_cloud is None else _with_cloud(settings, self.os_cloud)

    def targets(self, settings: Settings) -> list[Target]:
        """Return the targets that the command is about: those named, or all."""
        from retrofit.operations.targets import select_targets  # noqa: PLC0415

        return select_targets(settings, self.target)


def _with_cloud(settings: Settings, name: str) -> Settings:
    """Return the settings with another entry of clouds.yaml for every target."""
    targets = tuple(
        target.model_copy(update={"cloud": target.cloud.model_copy(update={"name": name})})
        for target in settings.targets
    )
    return settings.model_copy(update={"targets": targets})


def config_of(context: click.Context) -> Path | None:
    """Return the configuration that was named so far, for completion."""
    return context.obj.config if isinstance(context.obj, Invocation) else None


def _names_of_targets(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete a target of the configuration."""
    from retrofit.config.file import load  # noqa: PLC0415

    try:
        names = [target.name for target in load(config_of(context)).targets]
    except RetrofitError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


SHARED: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("--config",),
        {
            "type": click.Path(path_type=Path),
            "envvar": "RETROFIT_CONFIG",
            "help": "Configuration file.  [default: /etc/retrofit/retrofit.toml]",
        },
    ),
    (
        ("--os-cloud",),
        {"metavar": "NAME", "help": "Cloud of clouds.yaml, for this command."},
    ),
    (
        ("--target",),
        {
            "shell_complete": _names_of_targets,
            "help": "Only this target of the configuration, or several: `a,b`.",
        },
    ),
    (
        ("-f", "--format", "-o", "--output", "output"),
        {
            "type": click.Choice(FORMATS),
            "help": "Format of the result on stdout.  [default: table]",
        },
    ),
    (
        ("-c", "--column", "columns"),
        {"metavar": "COLUMN", "multiple": True, "help": "Show this column only; repeatable."},
    ),
    (("--sort-column",), {"metavar": "COLUMN", "help": "Sort the rows by this column."}),
)
"""Options of every command, accepted before its name and after it."""


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Add an option that was typed to those typed before; the later one wins."""
    before: Invocation = context.obj or Invocation(config=None, output=Form(), target=None)
    context.obj = before
    if value in (None, ()):
        return
    match parameter.name:
        case "output":
            context.obj = replace(before, output=replace(before.output, format=value))
        case "columns":
            context.obj = replace(before, output=replace(before.output, columns=value))
        case "sort_column":
            context.obj = replace(before, output=replace(before.output, sort=value))
        case name:
            context.obj = replace(before, **{str(name): value})


def output_here(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let the options of `retrofit` follow the command too, where people type them."""
    return click.pass_context(_shared(command, after_name=True))


def _shared(command: Callable[..., Any], *, after_name: bool = False) -> Callable[..., Any]:
    for words, details in reversed(SHARED):
        given = {"expose_value": False, "callback": _remember, **details}
        if after_name:
            given.pop("envvar", None)  # it must not win over what was typed before the name
        command = click.option(*words, **given)(command)
    return command


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="retrofit")
@_shared
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.pass_context
def retrofit(context: click.Context, verbose: bool) -> None:
    """Keep OpenStack Octavia's amphora image up to date.

    Watches the synchronised Ubuntu images in Glance, builds an HAProxy amphora image from the
    newest, boots it to verify it, uploads and tags it, and rotates the older ones.
    """
    from retrofit.console import configure_logging  # noqa: PLC0415

    configure_logging(verbose=verbose)
    context.meta["verbose"] = verbose

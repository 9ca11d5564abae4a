"""`config check` and `config show`."""

from __future__ import annotations

import click

from retrofit.cli.root import output_here, retrofit


@retrofit.group()
def config() -> None:
    """Look at the configuration."""


@config.command("check")
@output_here
def config_check(context: click.Context) -> None:
    """Read the configuration and say everything that is wrong with it."""
    settings = context.obj.settings()
    names = ", ".join(target.name for target in context.obj.targets(settings))
    click.echo(f"the configuration is valid; targets: {names}")


@config.command("show")
@output_here
def config_show(context: click.Context) -> None:
    """Show every setting in force, defaults included."""
    from retrofit import render  # noqa: PLC0415

    render.show_settings(context.obj.settings(), context.obj.output)

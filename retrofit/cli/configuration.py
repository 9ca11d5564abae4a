"""`config check` and `config show`."""

from __future__ import annotations

import click

from retrofit.cli.root import output_here, retrofit
from retrofit.system.escape import escaped


@retrofit.group()
def config() -> None:
    """Check or show the configuration."""


@config.command("check")
@click.option("--online", is_flag=True, help="Try cloud, lock server and Octavia as well.")
@output_here
def config_check(context: click.Context, online: bool) -> None:
    """Check the configuration and report every mistake.

    Directories of `paths` that are another program's are refused as a run would refuse them. A
    cloud that clouds.yaml does not have is a warning: credentials may come later. With --online, a
    record is created in Glance and deleted, as `retrofit doctor` does.
    """
    from retrofit.config.file import DEFAULT_FILE, default_file  # noqa: PLC0415
    from retrofit.operations.configuration import check_environment  # noqa: PLC0415

    settings = context.obj.settings()
    targets = context.obj.targets(settings)
    missing = check_environment(targets, settings.paths)
    for error in missing:
        click.echo(
            f"warning: {escaped(error.message)}\nhint: {escaped(error.hint or '')}", err=True
        )
    file = context.obj.config or default_file()
    if file is None:
        click.echo(
            f"no configuration file was read: {DEFAULT_FILE} does not exist, defaults and"
            f" RETROFIT_* variables hold; `retrofit config init` writes one",
            err=True,
        )
    names = ", ".join(target.name for target in targets)
    usable = ", and no run can use it yet" if missing else ""
    click.echo(f"the configuration is valid{usable}; targets: {names}", err=online)
    if online:
        from retrofit.cli.render.doctor import show_tries  # noqa: PLC0415
        from retrofit.operations.doctor import examine  # noqa: PLC0415

        documents = examine(targets, settings, cloud_only=True)
        show_tries(documents, context.obj.output)
        context.exit(next((each.exit_code for each in documents if each.exit_code), 0))


@config.command("show")
@output_here
def config_show(context: click.Context) -> None:
    """Show every setting in force, defaults included."""
    from retrofit.cli import render  # noqa: PLC0415

    render.show_settings(context.obj.settings(), context.obj.output)

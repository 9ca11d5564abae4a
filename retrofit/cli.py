"""The command line: arguments in, the answer on stdout, the story on stderr, an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrofit import __version__
from retrofit.errors import ConfigError, InterruptedRunError, RetrofitError, VerifyError
from retrofit.interrupts import interruptible

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
        """Return the targets that the command is about: the named one, or all."""
        chosen = [t for t in settings.targets if self.target in {None, t.name}]
        if not chosen:
            known = ", ".join(target.name for target in settings.targets)
            raise ConfigError(
                f"there is no target {self.target}", hint=f"the configuration has: {known}"
            )
        return chosen


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="retrofit")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="RETROFIT_CONFIG",
    help="Configuration file.  [default: /etc/retrofit/retrofit.toml]",
)
@click.option("--target", help="Only this target of the configuration.")
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


def _output_here(command: Callable[..., Any]) -> Callable[..., Any]:
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
            help="Only this target of the configuration.",
        ),
        click.pass_context,
    ):
        command = decorate(command)
    return command


@retrofit.command("run-once")
@click.option("--force", is_flag=True, help="Build even when nothing asks for it.")
@_output_here
def run_once(context: click.Context, force: bool) -> None:
    """Bring every target up to date: plan, build, verify, publish, rotate."""
    from retrofit import pipeline, render  # noqa: PLC0415
    from retrofit.report import worst_exit_code  # noqa: PLC0415
    from retrofit.terminal import progress_shown  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    reports = []
    for target in invocation.targets(settings):
        with progress_shown() as progress:
            report = pipeline.run_once(target, settings, force=force, progress=progress)
        reports.append(report)
        if isinstance(report.error, InterruptedRunError):
            break
    render.show_reports(reports, invocation.output)
    context.exit(worst_exit_code(reports))


@retrofit.command()
@click.option("--force", is_flag=True, help="Plan as `run-once --force` would.")
@_output_here
@click.option("-v", "--verbose", is_flag=True, help="Say what was considered and passed over.")
def plan(context: click.Context, force: bool, verbose: bool) -> None:
    """Show what run-once would do now, and why; nothing is changed."""
    from retrofit import render  # noqa: PLC0415
    from retrofit.cloud import Glance  # noqa: PLC0415
    from retrofit.dib import recipe_for  # noqa: PLC0415
    from retrofit.survey import survey  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    plans = [
        survey(
            target,
            settings,
            Glance.connect(target.cloud),
            recipe=recipe_for(target.build).digest,
            force=force,
        )
        for target in invocation.targets(settings)
    ]
    render.show_plans(plans, invocation.output, verbose=verbose or context.meta["verbose"])
    for planned in plans:
        planned.require()


@retrofit.command("list")
@_output_here
def list_images(context: click.Context) -> None:
    """List the amphora images of every target, newest first, and which is promoted."""
    from retrofit import render  # noqa: PLC0415
    from retrofit.cloud import Glance  # noqa: PLC0415
    from retrofit.survey import take_inventory  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    inventories = [
        (target, take_inventory(target, Glance.connect(target.cloud)))
        for target in invocation.targets(settings)
    ]
    render.show_images(inventories, invocation.output)


@retrofit.command()
@_output_here
def status(context: click.Context) -> None:
    """Show which image Octavia takes now, how old it is, and how the last run ended."""
    from retrofit import render  # noqa: PLC0415
    from retrofit.status import target_status  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    render.show_status(
        [target_status(target, settings) for target in invocation.targets(settings)],
        invocation.output,
    )


@retrofit.command()
@click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Stock cloud image, qcow2 or raw.",
)
@click.option(
    "--output-file",
    "--output",
    "output_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where the amphora image goes; not overwritten.",
)
@click.option("--target", default=None, help="Target whose build settings to use.")
@click.pass_context
def build(context: click.Context, source: Path, output_file: Path, target: str | None) -> None:
    """Retrofit an image file into an amphora image file; no cloud is asked."""
    from retrofit.local_build import build_file  # noqa: PLC0415
    from retrofit.terminal import progress_shown  # noqa: PLC0415

    invocation: Invocation = context.obj
    chosen = Invocation(
        config=invocation.config, output=invocation.output, target=target or invocation.target
    )
    settings = chosen.settings()
    with progress_shown() as progress:
        built = build_file(
            source, output_file, chosen.targets(settings)[0], settings, progress=progress
        )
    from retrofit import render  # noqa: PLC0415

    render.show_built(built, invocation.output)


@retrofit.command()
@click.argument("image", metavar="FILE|IMAGE-ID")
@_output_here
def verify(context: click.Context, image: str) -> None:
    """Verify an amphora image by itself: a file, or an image in Glance by its id.

    Does what run-once does between build and upload, at the configured verify.level.
    """
    from retrofit import render  # noqa: PLC0415
    from retrofit.local_verify import verify_image  # noqa: PLC0415
    from retrofit.terminal import progress_shown  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    target = invocation.targets(settings)[0]
    with progress_shown() as progress:
        verdict, log_dir = verify_image(image, target, settings, progress=progress)
    render.show_verdict(verdict, log_dir, invocation.output)
    context.exit(0 if verdict.passed else VerifyError.exit_code)


@retrofit.group()
def config() -> None:
    """Look at the configuration."""


@config.command("check")
@_output_here
def config_check(context: click.Context) -> None:
    """Read the configuration and say everything that is wrong with it."""
    settings = context.obj.settings()
    names = ", ".join(target.name for target in context.obj.targets(settings))
    click.echo(f"the configuration is valid; targets: {names}")


@config.command("show")
@_output_here
def config_show(context: click.Context) -> None:
    """Show every setting in force, defaults included."""
    from retrofit import render  # noqa: PLC0415

    render.show_settings(context.obj.settings(), context.obj.output)


@contextmanager
def _errors_told() -> Iterator[None]:
    """Turn what operators can mend into a message and an exit code."""
    try:
        with interruptible():
            yield
    except RetrofitError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("error: interrupted", err=True)
        sys.exit(InterruptedRunError.exit_code)


def main() -> None:
    """Run the command line."""
    with _errors_told():
        try:
            sys.exit(retrofit.main(standalone_mode=False))
        except click.ClickException as error:
            error.show()
            sys.exit(ConfigError.exit_code)
        except click.Abort:
            raise KeyboardInterrupt from None

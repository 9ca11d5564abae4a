"""`build` and `verify`: one part of a run by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from retrofit.cli.root import Invocation, output_here, retrofit
from retrofit.errors import VerifyError


@retrofit.command()
@click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Source image, qcow2 or raw.",
)
@click.option(
    "--output-file",
    "--output",
    "output_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File for the amphora image; an existing one is not overwritten.",
)
@click.option("--target", default=None, help="Target whose build settings to use.")
@click.pass_context
def build(context: click.Context, source: Path, output_file: Path, target: str | None) -> None:
    """Retrofit an image file into an amphora image file, without a cloud."""
    from retrofit.console import progress_shown  # noqa: PLC0415
    from retrofit.operations.build_file import build_file  # noqa: PLC0415

    invocation: Invocation = context.obj
    chosen = replace(invocation, target=target or invocation.target)
    settings = chosen.settings()
    with progress_shown() as progress:
        built = build_file(
            source, output_file, chosen.targets(settings)[0], settings, progress=progress
        )
    from retrofit.cli import render  # noqa: PLC0415

    render.show_built(built, invocation.output)


@retrofit.command()
@click.argument("image", metavar="FILE|IMAGE-ID")
@click.option(
    "--only",
    metavar="CHECK",
    multiple=True,
    help="Make this check, with those that it needs, and no other; repeatable.",
)
@output_here
def verify(context: click.Context, image: str, only: tuple[str, ...]) -> None:
    """Verify an amphora image: a file, or an image in Glance by its id.

    The same verification as in run-once between build and upload, at the configured verify.level.
    docs/reference/checks.md lists the checks that --only knows.
    """
    from retrofit.cli import render  # noqa: PLC0415
    from retrofit.console import progress_shown  # noqa: PLC0415
    from retrofit.operations.verify_image import verify_image  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    target = invocation.targets(settings)[0]
    with progress_shown() as progress:
        verification = verify_image(image, target, settings, progress=progress, only=only)
    render.show_verdict(verification.verdict, verification.log_dir, invocation.output)
    context.exit(0 if verification.verdict.passed else VerifyError.exit_code)

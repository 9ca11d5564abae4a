"""`build` and `verify`: one part of a run by itself."""

from __future__ import annotations

from pathlib import Path

import click

from retrofit.cli.root import Invocation, output_here, retrofit
from retrofit.errors import VerifyError


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
@output_here
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

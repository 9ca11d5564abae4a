"""`notify`: whether those who want to be told can be."""

from __future__ import annotations

import click

from retrofit.cli.root import Invocation, output_here, retrofit
from retrofit.errors import ConfigError


@retrofit.command()
@click.option("--test", is_flag=True, help="Send a test to the webhook and the command, first.")
@output_here
def notify(context: click.Context, test: bool) -> None:
    """Deliver the changes of state that wait to be told, and show what still waits.

    Runs and the worker do so by themselves; this is for trying out [notify] of the configuration.
    """
    from retrofit.notify import Outbox, delivery  # noqa: PLC0415
    from retrofit.render.letters import show_letters  # noqa: PLC0415

    invocation: Invocation = context.obj
    settings = invocation.settings()
    nobody = settings.notify.url is None and not settings.notify.command
    if test and nobody:
        raise ConfigError(
            "nobody is to be told", hint="set notify.url or notify.command in the configuration"
        )
    tried = delivery.send_test(settings.notify) if test else {}
    once = settings.notify.model_copy(update={"retries": 0})
    outbox = Outbox(settings.paths.state)
    try:
        delivery.deliver(outbox, once, at_once=True)
    except OSError as error:
        raise ConfigError(
            f"cannot use {error.filename}: {error.strerror}",
            hint="run as root, or set paths.state",
        ) from error
    waiting = [
        {"id": letter.id, **letter.as_dict()} for queue in outbox.letters() for letter in queue
    ]
    show_letters(tried, waiting, invocation.output)
    failed = [said for said in tried.values() if said is not None]
    if failed:
        raise ConfigError(
            f"the test was not delivered: {failed[0]}", hint="check [notify] of the configuration"
        )

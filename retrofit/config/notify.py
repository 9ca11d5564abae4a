"""Settings of `[notify]`."""

from __future__ import annotations

import typing
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from retrofit.config.files import Command, SecretFile, TrustedFile
from retrofit.config.numbers import CENTURY_HOURS, Period, Within
from retrofit.config.section import Section, WebAddress

Event = Literal[
    "no_image",
    "image_found",
    "published",
    "failed",
    "recovered",
    "stale",
    "fixes_missing",
    "rolled_over",
    "halted",
]


class NotifySettings(Section):
    """Who is notified when the state of a target changes."""

    url: WebAddress | None = Field(
        None,
        description="URL of the webhook: it receives each event as a JSON POST. Not a secret:"
        " it is shown like every setting.",
    )
    secret_file: SecretFile | None = Field(
        None,
        description="File whose content signs the requests to the webhook (HMAC-SHA256). Only"
        " its owner should be able to read it.",
    )
    ca_bundle: TrustedFile | None = Field(
        None, description="File with the CA certificates for the webhook, instead of the system's."
    )
    command: Command = Field((), description="Command that receives each event as JSON on stdin.")
    events: tuple[Event, ...] = Field(
        typing.get_args(Event),
        description="Events to notify about.",
    )
    timeout: Annotated[int, Within(1, 300)] = Field(
        10,
        description="Seconds that the webhook or the command may take, and a run for both.",
    )
    retries: Annotated[int, Within(0, 20)] = Field(
        5,
        description="Number of retries in a row, each after twice the wait of the one before."
        " A run makes those that `timeout` leaves time for; the worker, or the next run, goes on"
        " with undelivered notifications, at least once an hour.",
    )
    give_up_after: Annotated[Period, Within(1, CENTURY_HOURS, never=True)] = Field(
        72, description="Hours after which an undelivered notification is dropped."
    )

    @model_validator(mode="after")
    def _secret_has_a_use(self) -> Self:
        if self.secret_file is not None and self.url is None:
            raise ValueError("secret_file signs requests to the webhook: set url too")
        return self

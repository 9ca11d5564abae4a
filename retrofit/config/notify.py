"""Settings of `[notify]`."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from retrofit.config.section import File, Section, Word

Event = Literal["published", "failed", "recovered", "too_old"]


def _an_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected an address that begins with http:// or https://")
    if parts.username or parts.password:
        raise ValueError("credentials belong into ~/.netrc, not into the address")
    return text


class NotifySettings(Section):
    """Who is told when the state of a target changes."""

    url: Annotated[Word, AfterValidator(_an_address)] | None = Field(
        None,
        description="Webhook that gets each change of state as a JSON POST. No secret: it is"
        " shown like every setting.",
    )
    secret_file: File | None = Field(
        None,
        description="File whose content signs what the webhook gets (HMAC-SHA256), and which only"
        " its owner should read.",
    )
    ca_bundle: File | None = Field(
        None, description="CA certificates for the webhook, instead of the system's."
    )
    command: tuple[Word, ...] = Field(
        (), description="Command that gets each change of state as JSON on its stdin."
    )
    events: tuple[Event, ...] = Field(
        ("published", "failed", "recovered", "too_old"),
        description="Changes of state that are told.",
    )
    too_old: int = Field(
        60, ge=1, description="Days after which the promoted image is said to be too old."
    )
    timeout: int = Field(
        10, ge=1, le=300, description="Seconds that the webhook or the command may take."
    )
    retries: int = Field(
        5,
        ge=0,
        le=20,
        description="Repetitions in a row, each after twice the wait of the one before; the worker,"
        " or the next run, goes on with what stays undelivered, at least once an hour.",
    )
    give_up_after: int = Field(
        72, ge=1, description="Hours after which what could not be delivered is dropped."
    )

    @model_validator(mode="after")
    def _secret_has_a_use(self) -> Self:
        if self.secret_file is not None and self.url is None:
            raise ValueError("secret_file signs what the webhook gets: set url too")
        return self

"""The base of all JSON documents of ours: reports, records, status; what a text and a time are."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
)
from pydantic_core.core_schema import ValidationInfo

from retrofit.redaction import redacted
from retrofit.times import iso, read_time

LARGEST = 10**12
"""More runs than there ever will be, and more seconds than a step ever takes."""
TIME_SCHEMA = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?\+00:00$",
}


def _text(value: Any) -> Any:
    """Mask credentials, and what is only half a character: no encoding can write that."""
    if not isinstance(value, str):
        return value
    return redacted(value.encode(errors="replace").decode())


def _time(value: Any) -> datetime:
    when = value.astimezone(UTC) if isinstance(value, datetime) else read_time(value)
    if when is None:
        raise ValueError("not a time of ISO 8601")
    return when


Text = Annotated[str, BeforeValidator(_text)]
"""A string, without credentials."""
Time = Annotated[
    datetime,
    BeforeValidator(_time),
    PlainSerializer(iso, return_type=str, when_used="json"),
    WithJsonSchema(TIME_SCHEMA),
]
"""A time in UTC; in JSON it is ISO 8601 to the second, with an offset."""
ExactTime = Annotated[
    datetime,
    BeforeValidator(_time),
    PlainSerializer(datetime.isoformat, return_type=str, when_used="json"),
    WithJsonSchema(TIME_SCHEMA),
]
"""A time in UTC, to the microsecond."""
# JSON as Python reads it has NaN, and numbers of any length; neither is a count or a duration.
Count = Annotated[int, Field(strict=True, ge=0, lt=LARGEST)]
Seconds = Annotated[float, Field(strict=True, ge=0, lt=LARGEST, allow_inf_nan=False)]
Days = Annotated[float, Field(allow_inf_nan=False)]
"""An age; below zero where a clock was ahead."""


class Document(BaseModel):
    """A JSON document or a part of one. Keys that it does not know are those of a newer version."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def as_dict(self) -> dict[str, Any]:
        """Return the document as JSON types."""
        return self.model_dump(mode="json")


class TolerantDocument(Document):
    """A document that is read from a disk, or was written by another version.

    Each part that has not the expected form takes its default; of a list, only such items go. Only
    a damaged key without default makes the whole document invalid.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_where_damaged(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            field = cls.model_fields[info.field_name or ""]
            if field.is_required():
                raise
            damaged = {each["loc"][0] for each in error.errors() if each["loc"]}
            if isinstance(value, list) and damaged:
                whole = [item for number, item in enumerate(value) if number not in damaged]
                with suppress(ValidationError):
                    return handler(whole)
            return field.get_default(call_default_factory=True)

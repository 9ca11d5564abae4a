"""Numbers and switches as the file writes them: whole, bounded, `never` as a word, no guesses.

A number beyond its bounds means something else to its author than to a clock: `99999999` hours were
11,000 years, and ended runs by an overflow. Where "never" can be meant, it is a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

NEVER: Literal["never"] = "never"
CENTURY_HOURS = 876_600
CENTURY_DAYS = 36_525
"""The longest time that is no "never": every clock and date can hold it, twice."""
DAY_SECONDS = 86_400
YEAR_SECONDS = 366 * DAY_SECONDS


class FromEnvironment(str):
    """A string of an environment variable, where numbers and switches are strings too."""

    __slots__ = ()


@dataclass(frozen=True)
class Within:
    """Bounds of a whole number, both included; with `never`, that word is accepted as well."""

    least: int
    most: int
    never: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check before pydantic does: it takes `true`, `5.0` and `"5"` for numbers."""
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def check(self, value: object) -> object:
        """Return a number within the bounds, or `never`. Raises ValueError."""
        if isinstance(value, FromEnvironment) and re.fullmatch(r"[+-]?[0-9]{1,30}", value.strip()):
            value = int(value)
        if self.never and value == NEVER:
            return NEVER
        if type(value) is int and self.least <= value <= self.most:
            return value
        quotes = ", without quotes" if isinstance(value, str) and value.strip().isdigit() else ""
        never = f', or "{NEVER}"' if self.never else ""
        raise ValueError(f"expected a whole number from {self.least} to {self.most}{quotes}{never}")


def _a_switch(value: object) -> object:
    """Return a boolean. Raises ValueError for a word or number of the file that may mean one."""
    if isinstance(value, FromEnvironment):
        words = {"true": True, "yes": True, "on": True, "1": True,
                 "false": False, "no": False, "off": False, "0": False}  # fmt: skip
        value = words.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        raise ValueError(  # noqa: TRY004  (pydantic reports ValueErrors)
            "expected true or false, without quotes"
        )
    return value


Flag = Annotated[bool, BeforeValidator(_a_switch)]
Period = int | Literal["never"]
"""A time in the unit that the setting names."""


def hours(period: Period) -> timedelta:
    """Return a time in hours; `never` is longer than any."""
    return timedelta.max if period == NEVER else timedelta(hours=period)


def days(period: Period) -> timedelta:
    """Return a time in days; `never` is longer than any."""
    return timedelta.max if period == NEVER else timedelta(days=period)

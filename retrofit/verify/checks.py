"""What was checked so far, in order, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from retrofit.errors import RetrofitError
from retrofit.model import Check, Outcome
from retrofit.shortage import shortage
from retrofit.visible import visible

log = structlog.get_logger(__name__)

LONGEST_DETAIL = 4096
"""Characters: an image may repeat a MiB to us."""


class CheckFailedError(Exception):
    """What a check saw is not what an amphora shows; the text says what it saw."""


class NotApplicableError(Exception):
    """The check has no meaning for this image; the text says why."""


@dataclass(kw_only=True)
class Record:
    """Collects checks; a check that failed keeps those that `need` it from being tried."""

    checks: list[Check] = field(default_factory=list)

    def attempt(self, name: str, check: Callable[[], str], *, needs: tuple[str, ...] = ()) -> bool:
        """Run one check, which returns what it saw, and say whether it passed.

        OSError covers sockets and TLS: an amphora that hangs up has failed, this program has not.
        What a check did not expect of an image, it fails for as well: an image that breaks its
        examination must not pass for a bug of ours, which the next run would build again.
        """
        missing = [need for need in needs if not self.passed(need)]
        if missing:
            self.add(name, Outcome.NOT_APPLICABLE, f"not reached, for want of {missing[0]}", 0.0)
            return False
        started = time.monotonic()
        try:
            detail, outcome = check(), Outcome.PASSED
        except CheckFailedError as failure:
            detail, outcome = str(failure), Outcome.FAILED
        except NotApplicableError as reason:
            detail, outcome = str(reason), Outcome.NOT_APPLICABLE
        except RetrofitError:
            raise  # of this machine
        except OSError as error:
            detail, outcome = f"{type(error).__name__}: {error}", Outcome.FAILED
        except Exception as error:
            if shortage(error) is not None:
                raise  # of this machine too
            log.exception("check met what it did not expect", check=name)
            detail, outcome = f"{type(error).__name__}: {error}", Outcome.FAILED
        self.add(name, outcome, detail, time.monotonic() - started)
        return outcome is Outcome.PASSED

    def add(self, name: str, outcome: Outcome, detail: str, seconds: float) -> None:
        """Note how a check ended."""
        detail = visible(detail[:LONGEST_DETAIL])
        self.checks.append(
            Check(name=name, outcome=outcome, detail=detail, seconds=round(seconds, 2))
        )
        tell = log.warning if outcome is Outcome.FAILED else log.debug
        tell("check ended", check=name, outcome=str(outcome), detail=detail)

    def passed(self, name: str) -> bool:
        """Say whether a check ran and passed."""
        return any(check.name == name and check.outcome is Outcome.PASSED for check in self.checks)

    @property
    def failed(self) -> bool:
        """Say whether any check failed."""
        return any(check.outcome is Outcome.FAILED for check in self.checks)

"""The checks of a verification, in order, with their outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from retrofit.errors import RetrofitError
from retrofit.model import Check, Outcome
from retrofit.system.escape import escaped
from retrofit.system.resource_errors import resource_shortage

log = structlog.get_logger(__name__)

LONGEST_DETAIL = 4096
"""Characters: an image may repeat a MiB to us."""


class CheckFailedError(Exception):
    """The image fails a check; the text is what the check found."""


class WarningError(Exception):
    """The image may do, and somebody should know; the text is what the check found."""


class NotApplicableError(Exception):
    """The check has no meaning for this image; the text is the reason."""


@dataclass(kw_only=True)
class Record:
    """Collects checks; one that needs another is skipped unless the other passed."""

    checks: list[Check] = field(default_factory=list)

    def attempt(self, name: str, check: Callable[[], str], *, needs: tuple[str, ...] = ()) -> bool:
        """Run one check, which returns what it found, and return True if it passed.

        OSError covers sockets and TLS: an amphora that hangs up has failed, this program has not.
        What a check did not expect of an image, it fails for as well: an image that breaks its
        examination must not pass for a bug of ours, which the next run would build again.
        """
        for need in needs:
            ended = self.outcome(need)
            if ended is not Outcome.PASSED:
                how = "failed" if ended is Outcome.FAILED else f"was {ended or 'not tried'}"
                self.add(name, Outcome.SKIPPED, f"skipped: {need} {how}", 0.0)
                return False
        started = time.monotonic()
        try:
            detail, outcome = check(), Outcome.PASSED
        except CheckFailedError as failure:
            detail, outcome = str(failure), Outcome.FAILED
        except NotApplicableError as reason:
            detail, outcome = str(reason), Outcome.NOT_APPLICABLE
        except WarningError as warning:
            detail, outcome = str(warning), Outcome.WARNED
        except RetrofitError:
            raise  # of this machine
        except OSError as error:
            detail, outcome = f"{type(error).__name__}: {error}", Outcome.FAILED
        except Exception as error:
            if resource_shortage(error) is not None:
                raise  # of this machine too
            log.exception("check failed unexpectedly", check=name)
            detail, outcome = f"{type(error).__name__}: {error}", Outcome.FAILED
        self.add(name, outcome, detail, time.monotonic() - started)
        return outcome is Outcome.PASSED

    def add(self, name: str, outcome: Outcome, detail: str, seconds: float) -> None:
        """Add a check that ended; `seconds` is how long it took."""
        detail = escaped(detail[:LONGEST_DETAIL])
        self.checks.append(
            Check(name=name, outcome=outcome, detail=detail, seconds=round(seconds, 2))
        )
        worth_a_look = outcome in {Outcome.FAILED, Outcome.WARNED}
        emit = log.warning if worth_a_look else log.debug
        emit("check ended", check=name, outcome=str(outcome), detail=detail)

    def outcome(self, name: str) -> Outcome | None:
        """Return how the check of this name ended; None before it was tried."""
        return next((check.outcome for check in self.checks if check.name == name), None)

    @property
    def failed(self) -> bool:
        """Return True if any check failed."""
        return any(check.outcome is Outcome.FAILED for check in self.checks)

"""The error classes: each is one kind of failure, with its own exit code."""

from __future__ import annotations

from typing import ClassVar

from retrofit.redaction import redacted


class RetrofitError(Exception):
    """A failure with a message for the operator: what happened, to which object, and a hint."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "internal"
    passing: bool = False
    """Whether another attempt may succeed; set where the error is raised."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # Addresses with credentials come from the configuration, and from libraries' messages.
        self.message = redacted(message)
        self.hint = None if hint is None else redacted(hint)
        super().__init__(self.message)


class ConfigError(RetrofitError):
    """The configuration or the arguments are wrong; nothing was started."""

    exit_code = 2
    code = "config"


class CloudError(RetrofitError):
    """Keystone, Glance or Octavia cannot be reached, or refuses the credentials."""

    exit_code = 3
    code = "cloud"


class CloudDeniedError(CloudError):
    """The cloud answers, and refuses the credentials or what they may do."""

    code = "cloud-denied"


class SourceError(RetrofitError):
    """There is no usable source image."""

    exit_code = 4
    code = "source"


class MirrorError(SourceError):
    """The mirror cannot be reached, or its answer is not valid."""


class SourceVanishedError(SourceError):
    """The source was deleted between the choice and the end of its download."""


class BuildError(RetrofitError):
    """The retrofit did not produce an image."""

    exit_code = 5
    code = "build"


class VerifyError(RetrofitError):
    """The image was built and is not a working amphora."""

    exit_code = 6
    code = "verify"


class PublishError(RetrofitError):
    """The image could not be uploaded, promoted or rotated."""

    exit_code = 7
    code = "publish"


class HaltedError(RetrofitError):
    """A rollover halted: it moves nothing more until an operator or a newer image ends that."""

    exit_code = 8
    code = "halted"


class LockedError(RetrofitError):
    """Another run holds the lock (75 is EX_TEMPFAIL of sysexits.h)."""

    exit_code = 75
    code = "locked"


class LockLostError(RetrofitError):
    """The lock of this target may have been lost to another machine."""

    exit_code = 75
    code = "lock-lost"


class InterruptedRunError(RetrofitError):
    """The run was interrupted by a signal (130 is 128 + SIGINT, as shells report it)."""

    exit_code = 130
    code = "interrupted"


def error_of(code: str, message: str, *, hint: str | None = None) -> RetrofitError:
    """Make an error of the class that a record names; of the base class for an unknown one."""
    family: list[type[RetrofitError]] = [*RetrofitError.__subclasses__(), CloudDeniedError]
    # A class that only inherits its code, such as CommandError, takes other arguments.
    classes = {kind.code: kind for kind in family if "code" in vars(kind)}
    return classes.get(code, RetrofitError)(message, hint=hint)

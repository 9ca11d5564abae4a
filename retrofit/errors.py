"""The error family: each class is one way to fail, with its own exit code."""

from __future__ import annotations

from typing import ClassVar

from retrofit.redaction import redacted


class RetrofitError(Exception):
    """A failure that an operator can understand: what happened, to what, and the way out."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "internal"
    passing: bool = False
    """Whether another attempt may go well, as whoever raises it knows."""

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
    """Keystone, Glance or Octavia cannot be reached or refuses us."""

    exit_code = 3
    code = "cloud"


class SourceError(RetrofitError):
    """There is no source image that may be used."""

    exit_code = 4
    code = "source"


class MirrorError(SourceError):
    """The mirror cannot be reached, or does not answer as it should."""


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


class BusyError(RetrofitError):
    """Another run holds the lock (75 is EX_TEMPFAIL of sysexits.h)."""

    exit_code = 75
    code = "busy"


class LockLostError(RetrofitError):
    """It is not certain any more that no other machine runs this target."""

    exit_code = 75
    code = "lock-lost"


class InterruptedRunError(RetrofitError):
    """Somebody asked us to stop (128 + SIGINT, as shells report it)."""

    exit_code = 130
    code = "interrupted"


def error_of(code: str, message: str, *, hint: str | None = None) -> RetrofitError:
    """Make an error of the class that a record names; of the base class for an unknown one."""
    family = RetrofitError.__subclasses__()
    # What only inherits its code, such as an error of a command, is made of other things.
    classes = {kind.code: kind for kind in family if "code" in vars(kind)}
    return classes.get(code, RetrofitError)(message, hint=hint)

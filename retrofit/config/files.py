"""Paths as the configuration names them: absolute, and guarded where root will run or believe them.

A relative path is another file in each working directory: a service's is `/`, a person's is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from retrofit.errors import ConfigError
from retrofit.system.file_ownership import (
    require_not_readable_by_others,
    require_not_writable_by_others,
    require_tree_not_writable_by_others,
)

NEVER_QUOTED = re.compile(r"[^\w.+@=%~/-]")
"""Characters that diskimage-builder, PATH-like lists, QEMU's options or lock addresses take for
their own."""
MOST_FILES = 20_000
"""Of the directories in `build.element_paths`; a path such as `/` is a mistake."""


def _an_absolute_path(value: Any) -> Any:
    """Refuse what means another file elsewhere; pydantic judges anything but strings and paths."""
    if not isinstance(value, str | Path):
        return value
    text = str(value)
    if not text:
        raise ValueError("expected a path")
    if any(not char.isprintable() for char in text):
        raise ValueError("a path has no control characters")
    if text.startswith("~"):
        raise ValueError("~ is not expanded: write the whole path")
    if not text.startswith("/"):
        raise ValueError(f"expected an absolute path; from here it is {Path(text).absolute()}")
    if text != text.strip():
        raise ValueError("the path begins or ends with a blank")
    return value


def a_plain_path(path: Path) -> Path:
    """Refuse a directory whose name a program of a build would not quote. Raises ValueError."""
    if found := NEVER_QUOTED.search(str(path)):
        raise ValueError(
            f"has {found[0]!r}, which diskimage-builder and others do not quote: use letters,"
            " digits and . _ + @ = % ~ -"
        )
    return path


def _a_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    return path


def _a_directory(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"{path} is not a directory")
    return path


@contextmanager
def _refused_by_pydantic(path: Path, *, who: str) -> Iterator[None]:
    """Turn a refusal into what pydantic reports; `who` can follow its way out."""
    try:
        yield
    except ConfigError as error:
        raise ValueError(f"{error.message} (as {who}: {error.hint})") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _guarded(path: Path) -> Path:
    """Refuse a file that others may change: root runs it, or believes it."""
    with _refused_by_pydantic(path, who="root"):
        require_not_writable_by_others(path, path.stat())
    return path


def _secret(path: Path) -> Path:
    with _refused_by_pydantic(path, who="its owner"):
        require_not_readable_by_others(path, path.stat())
    return path


def _guarded_tree(directory: Path) -> Path:
    """Refuse a directory in which others may change anything: each script of it runs as root."""
    with _refused_by_pydantic(directory, who="root"):
        require_tree_not_writable_by_others(directory, most=MOST_FILES)
    return directory


def _an_argument(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("is empty, or has a null character")
    return text


def _a_command(command: tuple[str, ...]) -> tuple[str, ...]:
    """Accept a program on PATH, or the path of a guarded file; its arguments are its own."""
    if command and "/" in command[0]:
        _guarded(_a_file(Path(_an_absolute_path(command[0]))))
    return command


AbsolutePath = Annotated[Path, BeforeValidator(_an_absolute_path)]
File = Annotated[AbsolutePath, AfterValidator(_a_file)]
TrustedFile = Annotated[File, AfterValidator(_guarded)]
"""A file that decides what runs as root or what is believed: nobody else may change it."""
SecretFile = Annotated[TrustedFile, AfterValidator(_secret)]
"""A file that nobody else may read either."""
ElementDirectory = Annotated[
    AbsolutePath,
    AfterValidator(a_plain_path),
    AfterValidator(_a_directory),
    AfterValidator(_guarded_tree),
]
Command = Annotated[
    tuple[Annotated[str, AfterValidator(_an_argument)], ...], AfterValidator(_a_command)
]

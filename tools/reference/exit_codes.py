"""Exit codes, from the family of errors."""

from __future__ import annotations

import inspect
from collections import defaultdict

from retrofit import errors
from retrofit.operations.status import DEGRADED_EXIT_CODE, NO_IMAGE_EXIT_CODE
from tools.reference.markdown import one_line, table

INTRODUCTION = """\
# Exit codes

Of `retrofit`, and of `retrofit-scheduler` as far as they apply. The error code is `error.code` in
reports, JSON and notifications. Several targets: the code of the first failure, a held lock last.
"""
INTERNAL = "An internal error of retrofit; the logs have its traceback."
SUCCESS = "Success: published, nothing to do, or paused; a `verify` that passed."

OF_STATUS = {
    DEGRADED_EXIT_CODE: "`status --exit-code` only: a target is degraded; the state is shown.",
    NO_IMAGE_EXIT_CODE: "`status --exit-code` only: Octavia finds no image for a target.",
}


def body() -> str:
    """Return the page."""
    meanings: dict[int, list[type[errors.RetrofitError]]] = defaultdict(list)
    for kind in family():
        meanings[kind.exit_code].append(kind)
    rows = [("0", "", SUCCESS)]
    rows += [(str(code), "", meaning) for code, meaning in OF_STATUS.items()]
    for number, kinds in sorted(meanings.items()):
        # An error that only inherits its code is a special case of the class that has it.
        own = [kind for kind in kinds if "code" in vars(kind)]
        codes = ", ".join(f"`{kind.code}`" for kind in own)
        texts = [one_line(inspect.getdoc(kind)) for kind in own]
        rows.append((str(number), codes, INTERNAL if number == 1 else " ".join(texts)))
    rows.sort(key=lambda row: int(row[0]))
    return f"{INTRODUCTION}\n{table(('Exit code', 'Error code', 'Meaning'), rows)}"


def family() -> list[type[errors.RetrofitError]]:
    """Return every class of error."""
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RetrofitError)
    ]

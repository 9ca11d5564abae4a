"""What commands answer, and their JSON out of its envelope."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


def answer(text: str) -> Any:
    """Return what a command printed: of one target its document, of several all of them.

    Several are found by any of the names that tests know them by.
    """
    document = json.loads(text)
    if not isinstance(document, dict) or document.keys() != {"schema_version", "targets"}:
        return document
    assert document["schema_version"] == 2
    targets = document["targets"]
    return targets[0] if len(targets) == 1 else dict.fromkeys(("targets", "runs", "plans"), targets)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command answered, told, and ended with."""

    words: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """What was printed with `-f json`."""
        return answer(self.stdout)

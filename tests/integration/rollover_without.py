"""retrofit with a safeguard of its rollovers taken out: `rollover_without lock --config ...`.

What judges a rollover has to notice.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

from retrofit.cli import main
from retrofit.fleet.rollover import decision
from retrofit.operations import rollover

TAKEN_OUT: dict[str, tuple[Any, str, Any]] = {
    "lock": (rollover, "_lock", lambda *_given: nullcontext()),
    "halt": (decision, "_doubts", lambda *_given: None),
}

if __name__ == "__main__":
    setattr(*TAKEN_OUT[sys.argv.pop(1)])
    main()

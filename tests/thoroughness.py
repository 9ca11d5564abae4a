"""How much is drawn by chance: HYPOTHESIS_PROFILE=thorough tries more, and other things each time.

Without it a property is tried with the same examples every time: what fails then fails of a change,
and not of a day's luck.
"""

from __future__ import annotations

import os
import random

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"

HISTORIES = int(os.environ.get("HISTORIES", "60"))
"""How many random histories tests/model plays."""
FIRST_HISTORY = random.SystemRandom().randrange(10**9) if THOROUGH else 0
"""The seed of the first; the others follow it."""
CONFIGURATIONS = int(os.environ.get("CONFIGURATIONS", "150"))
"""How many random configurations tests/model tries."""
LOAD_BALANCERS = int(os.environ.get("LOAD_BALANCERS", "10"))
"""How many load balancers a bad night of rollovers has."""

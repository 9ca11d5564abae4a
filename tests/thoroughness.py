"""How much is drawn by chance: HYPOTHESIS_PROFILE=thorough tries more, and other things each time.

Without it a property is tried with the same examples every time: what fails then fails of a change,
and not of a day's luck.
"""

from __future__ import annotations

import os

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"

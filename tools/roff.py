"""Text in roff, the language of manual pages."""

from __future__ import annotations

import re


def roff(text: str) -> str:
    """Escape a text of one or more lines; what stands in backticks becomes bold."""
    escaped = text.replace("\\", "\\e")
    escaped = re.sub(r"(?m)^(?=[.'])", r"\\&", escaped)
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fP", escaped)

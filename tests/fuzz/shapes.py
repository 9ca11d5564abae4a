"""What parsers are fed with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st

from tests.thoroughness import THOROUGH

EXAMPLES = 150
_TIMES = 40 if THOROUGH else 1
fast = settings(max_examples=EXAMPLES * _TIMES, database=None)
few = settings(max_examples=25 * _TIMES, database=None)

# Hostile words: what has broken parsers before.
WORDS = st.sampled_from(
    [
        "9" * 5000, "-1", "0", "1e999", "NaN", "Infinity", "2" * 400, "\0", "\x1b]0;x\x07",
        "\u202e", "../" * 40 + "etc/passwd", "$(reboot)", "`reboot`", "%s%n", "'", '"', "\\",
        "\n", "\r\n", "=", "[" * 3000, "{" * 3000, "٣", "\ud800", "0001-01-01T00:00:00+14:00",
        "<script>", "[red]", "9999-12-31T23:59:59-14:00", "a" * 70000,
    ]
)  # fmt: skip
TEXT = st.text(max_size=200) | WORDS
LINES = st.lists(TEXT | st.just(""), max_size=30).map("\n".join)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.integers().map(lambda i: 10**300 * i)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)
)  # fmt: skip


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """Bytes near to `seed`: some set, some cut, some said twice."""
    at = st.integers(0, max(0, len(seed) - 1))
    change = st.tuples(at, st.binary(min_size=1, max_size=16))

    def apply(changes: list[tuple[int, bytes]], end: int) -> bytes:
        data = bytearray(seed)
        for place, new in changes:
            data[place : place + len(new)] = new
        return bytes(data[:end])

    ends = st.just(len(seed)) | st.integers(0, len(seed))
    return st.builds(apply, st.lists(change, max_size=6), ends)


def tolerant(call: Callable[[], object], *errors: type[BaseException]) -> None:
    """Call a parser; of its errors only those that it promises may come out."""
    with suppress(*errors):
        call()

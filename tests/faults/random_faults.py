"""Faults at random, each where it can happen."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults import proxy
from tests.faults.proxy import Fault, Request

CHANCE = 0.05
CHANCE_OF_IMAGE_DATA = 0.2
"""There is one request for image data, up or down, to twenty others."""
SHORT = 0.3
"""Seconds of a stall that the client sits out."""
LONG = 2.5
"""Seconds of a stall that the client does not wait for."""
REFUSALS = (400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 504)


@dataclass(kw_only=True)
class RandomFaults:
    """Chooses faults for requests: `Proxy.chance(random_faults.choose)`."""

    seed: int
    met: Counter[str] = field(default_factory=Counter)
    """How often each fault was chosen, by its name."""
    lately: list[str] = field(default_factory=list)
    """Faults and requests since the test looked last."""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  (chance, not secrets)

    def choose(self, request: Request) -> Fault | None:
        """Say which fault, if any, a request meets."""
        data = request.path.endswith("/file")
        if self._random.random() >= (CHANCE_OF_IMAGE_DATA if data else CHANCE):
            return None
        fault = self._random.choice(self._kinds(request))()
        self.met[fault.name] += 1
        self.lately.append(f"{fault.name}: {request.method} {request.service} {request.path}")
        return fault

    def _kinds(self, request: Request) -> list[Callable[[], Fault]]:
        seconds = self._random.choice([SHORT, LONG])
        kinds: list[Callable[[], Fault]] = [
            lambda: proxy.status(self._random.choice(REFUSALS)),
            lambda: proxy.status(503, retry_after=1),
            lambda: proxy.status_late(self._random.choice([500, 502, 504])),
            lambda: proxy.delayed(seconds),
            proxy.cut_before,
            proxy.cut_request,
            proxy.cut_after,
            lambda: proxy.stall(LONG),
            lambda: proxy.stall_after(LONG),
            lambda: proxy.stall_body(LONG),
            proxy.truncate,
            lambda: proxy.trickle(seconds),
            proxy.garbage,
        ]
        if request.path.endswith("/file"):
            kinds += {
                "GET": [proxy.corrupt],
                "PUT": [
                    lambda: proxy.status_early(self._random.choice([413, 502])),
                    lambda: proxy.stop_reading(LONG),
                ],
            }[request.method]
        return kinds

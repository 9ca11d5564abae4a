"""How everything stands, as one document: page, JSON, metrics and `retrofit status` show this."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from retrofit.config import Settings, Target
from retrofit.overview.cloud import ask
from retrofit.overview.document import overview, standing
from retrofit.overview.facts import CloudFacts, Going, LocalFacts
from retrofit.overview.local import look, waiting_letters
from retrofit.overview.words import STATES

__all__ = [
    "STATES",
    "CloudFacts",
    "Going",
    "LocalFacts",
    "ask",
    "look",
    "overview",
    "overview_now",
    "standing",
    "standings",
    "waiting_letters",
]


def standings(targets: Iterable[Target], settings: Settings) -> list[dict[str, Any]]:
    """Ask about some targets and return how each stands, as `retrofit status` shows it."""
    local = look(settings)
    return [
        standing(
            target,
            settings,
            ask(target, settings, fleet=False),
            local[target.name],
            now=datetime.now(UTC),
        )
        for target in targets
    ]


def overview_now(settings: Settings) -> dict[str, Any]:
    """Ask everybody and return how all targets stand, as JSON types."""
    return overview(
        settings,
        {target.name: ask(target, settings) for target in settings.targets},
        look(settings),
        now=datetime.now(UTC),
        host=socket.gethostname(),
        letters=waiting_letters(settings),
    )

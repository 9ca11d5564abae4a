"""Try everything before a run fetches anything, and end it with the first failure."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

import structlog

from retrofit.archive.evidence import Evidence, EvidenceError
from retrofit.cloud import Glance
from retrofit.config import Settings
from retrofit.errors import RetrofitError
from retrofit.model import Image, Source
from retrofit.observe.freshness import find_evidence
from retrofit.produce.preflight import upcoming as tries
from retrofit.produce.preflight.room import Room
from retrofit.produce.preflight.tries import Tried, Try, first_failure, run_tries
from retrofit.produce.preflight.upcoming import Upcoming
from retrofit.produce.run import Run
from retrofit.runs.machine import this_machine

PLANNED = frozenset({"clock", "octavia"})
"""Tries whose warnings a plan has already."""

log = structlog.get_logger(__name__)


def require_all(
    run: Run,
    glance: Glance,
    source: Source,
    held: ExitStack,
    *,
    promoted: Image | None,
    built: bool,
) -> Room | None:
    """Try what the run will need of the cloud and, unless it is `built` already, of all others.

    Return what is reserved until `held` ends, None for no build. What only warns is noted in the
    report. Raises the error of the first try that failed; what else failed is noted.
    """
    upcoming = Upcoming(
        target=run.target,
        paths=run.settings.paths,
        source=source,
        recipe=run.recipe.digest,
        run_id=run.report.run_id,
        host=socket.gethostname(),
        state_id=this_machine(run.settings).state_id or "",
        evidence=None if built else evidence_of(promoted, run.settings, glance),
        held=held,
    )
    first, beside = ([], []) if built else tries_of_a_build(upcoming, glance)
    _end_with_the_first(run, run_tries([*first, *tries.tries_of_cloud(upcoming, glance)], beside))
    return upcoming.room


def tries_of_a_build(upcoming: Upcoming, glance: Glance | None) -> tuple[list[Try], list[Try]]:
    """Return the tries of machine, archive and Octavia: those to make in turn, and all others."""
    clock = [] if glance is None else [tries.try_of_clock(glance)]
    return [tries.try_of_room(upcoming), *clock], [
        *tries.tries_of_machine(upcoming),
        tries.try_of_octavia(upcoming),
    ]


def _end_with_the_first(run: Run, found: Sequence[Tried]) -> None:
    first = first_failure(found)
    for each in found:
        if each.outcome == "warned" and each.name not in PLANNED:
            run.report.notes.append(f"{each.name}: {each.detail}")
        elif each.error is not None and each.error is not first:
            run.report.notes.append(f"{each.name}, too: {each.detail}")
    if first is not None:
        raise first


def evidence_of(promoted: Image | None, settings: Settings, glance: Glance) -> Evidence | None:
    """Return the evidence of the promoted image; None where there is none, or nobody answers."""
    if promoted is None:
        return None
    try:
        return find_evidence(promoted, settings.paths.cache, glance)
    except (EvidenceError, RetrofitError, OSError) as error:
        log.debug("no evidence to try the archive with", reason=str(error))
        return None

"""Try all that a run will need of others, without a run: what run-once would refuse, and why."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import Field

from retrofit.archive.evidence import Evidence
from retrofit.build.recipe import recipe_for
from retrofit.cloud import Glance
from retrofit.config import Settings, Target
from retrofit.documents import Document, Text
from retrofit.errors import CloudError, ConfigError, LockedError, RetrofitError, SourceError
from retrofit.model import DEBIAN_ARCHITECTURES, SERIES_RELEASES, Source, StreamItem
from retrofit.observe.sources import observe_sources
from retrofit.observe.target import take_inventory
from retrofit.plan import Inventory, promoted_image
from retrofit.plan.carry_over import ambiguity
from retrofit.produce.preflight import upcoming as tries
from retrofit.produce.preflight.require import evidence_of, tries_of_a_build
from retrofit.produce.preflight.tries import DoubtError, Outcome, Tried, Try, run_tries
from retrofit.produce.preflight.upcoming import Upcoming
from retrofit.runner import run_lock
from retrofit.runs.machine import this_machine
from retrofit.runs.own_paths import check_paths, claim_paths, claim_state
from retrofit.source.trust import establish_trust

USUAL_SIZE = 700 << 20
"""Bytes of a source image, where none is found."""
LONGEST = 300.0
"""Seconds for what asks Keystone, Glance and mirrors: their own limits end them before."""


class TriedDocument(Document):
    """What came of one try."""

    name: Text
    outcome: Outcome
    seconds: float
    detail: Text = Field(description="What was found, or what is wrong.")
    hint: Text | None = Field(None, description="The way out.")


class DoctorDocument(Document):
    """What a run of a target will need, and whether it is there."""

    target: Text
    exit_code: int = Field(description="That of `run-once`, if it had to build now.")
    tries: tuple[TriedDocument, ...]


@dataclass(kw_only=True)
class _Patient:
    """What the tries of one target find, each from what those before found."""

    target: Target
    settings: Settings
    held: ExitStack
    run_id: str
    glance: Glance | None = None
    locked: bool = False
    inventory: Inventory | None = None
    source: Source | None = None
    evidence: Evidence | None = field(default=None)


def examine(
    targets: Iterable[Target], settings: Settings, *, cloud_only: bool = False
) -> list[DoctorDocument]:
    """Try what a run of each target needs; with `cloud_only`, what it needs of cloud and lock.

    A record is created in Glance and deleted, with the run's lock held; nothing else is changed.
    """
    return [_examine(target, settings, cloud_only=cloud_only) for target in targets]


def _examine(target: Target, settings: Settings, *, cloud_only: bool) -> DoctorDocument:
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    with ExitStack() as held:
        patient = _Patient(target=target, settings=settings, held=held, run_id=run_id)
        found = run_tries([*_first(patient, cloud_only=cloud_only)])
        upcoming = _upcoming(patient)
        here: list[Try] = []
        if cloud_only:
            beside = [tries.try_of_octavia(upcoming)]
        else:
            here, beside = tries_of_a_build(upcoming, patient.glance)
        if patient.glance is not None and patient.locked:
            here += tries.tries_of_cloud(upcoming, patient.glance)
        found += run_tries(here, beside)
    return _document(target, found)


def _first(patient: _Patient, *, cloud_only: bool) -> Iterable[Try]:
    """Return the tries that the others begin with, in the order of a run."""

    def slow(name: str, attempt: Callable[[_Patient], str], failure: type[RetrofitError]) -> Try:
        return Try(
            name=name,
            attempt=lambda: attempt(patient),
            limit=LONGEST,
            failure=failure,
            hint="see why it does not answer",
        )

    yield slow("directories", _directories, ConfigError)
    yield slow("cloud", _cloud, CloudError)
    yield slow("lock", _lock, CloudError)
    yield slow("images", _images, CloudError)
    if not cloud_only:
        yield slow("source", _source, SourceError)


def _directories(patient: _Patient) -> str:
    check_paths(patient.settings.paths)
    claim_state(patient.settings.paths)
    claim_paths(patient.settings.paths, "logs", "work", "cache")
    return "retrofit's own"


def _cloud(patient: _Patient) -> str:
    patient.glance = Glance.connect(patient.target.cloud)
    return f"logged in to {patient.glance.where}"


def _lock(patient: _Patient) -> str:
    try:
        patient.held.enter_context(run_lock(patient.target, patient.settings))
    except LockedError as error:
        raise DoubtError(
            f"{error.message}; nothing is created in Glance meanwhile", hint="wait for its end"
        ) from error
    patient.locked = True
    url = patient.settings.lock.url
    return "on this machine" if url is None else "on this machine and at the lock server"


def _images(patient: _Patient) -> str:
    glance, target = _required(patient.glance), patient.target
    inventory = take_inventory(target, glance, this_machine(patient.settings))
    patient.inventory = inventory
    if (unclear := ambiguity(inventory, target)) is not None:
        raise unclear
    promoted = promoted_image(inventory, target)
    if promoted is None:
        return "none is promoted"
    patient.evidence = evidence_of(promoted, patient.settings, glance)
    return f"{promoted.id} is promoted"


def _source(patient: _Patient) -> str:
    glance, target = _required(patient.glance), patient.target
    now = patient.inventory.now if patient.inventory is not None else datetime.now(UTC)
    found = observe_sources(target, patient.settings, glance, now)
    source = found.choice.source
    if source is None:
        raise found.choice.refusal()
    patient.source = source
    establish_trust(source, target, found.mirror)
    if found.warnings:
        raise DoubtError("; ".join(found.warnings), hint="see the synchroniser and the mirror")
    return source.name


def _required(glance: Glance | None) -> Glance:
    if glance is None:
        raise DoubtError("not tried: there is no connection to the cloud")
    return glance


def _upcoming(patient: _Patient) -> Upcoming:
    return Upcoming(
        target=patient.target,
        paths=patient.settings.paths,
        source=patient.source or _usual_source(patient.target),
        recipe=recipe_for(patient.target.build).digest,
        run_id=patient.run_id,
        host=socket.gethostname(),
        state_id=this_machine(patient.settings).state_id or "",
        evidence=patient.evidence,
        held=patient.held,
    )


def _usual_source(target: Target) -> Source:
    """Return a source as the settings prefer it, in place of one that is not found."""
    series, architecture = target.source.series[0], target.source.architecture
    release = SERIES_RELEASES[series]
    variant, debian = target.source.variants[0], DEBIAN_ARCHITECTURES[architecture]
    product = f"com.ubuntu.cloud:{variant}:{release}:{debian}"
    return Source(
        product=product,
        version="0",
        os_distro="ubuntu",
        os_version=release,
        architecture=architecture,
        item=StreamItem(
            product=product,
            version="0",
            name="disk1.img",
            ftype="disk1.img",
            url="none:",
            path="",
            size=USUAL_SIZE,
            sha256="0" * 64,
        ),
    )


def _document(target: Target, found: Iterable[Tried]) -> DoctorDocument:
    every = [*found]
    codes = (each.error.exit_code for each in every if each.error is not None)
    return DoctorDocument(
        target=target.name,
        exit_code=next(codes, 0),
        tries=tuple(
            TriedDocument(
                name=each.name,
                outcome=each.outcome,
                seconds=each.seconds,
                detail=each.detail,
                hint=each.hint,
            )
            for each in every
        ),
    )

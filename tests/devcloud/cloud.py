"""The development cloud: up, down, and what is there."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests.devcloud import accounts, processes
from tests.devcloud.places import DevcloudError, locked, spare_loopback_from_proxies
from tests.devcloud.server_config import Limits
from tests.devcloud.servers import SERVICES, Cloud, launch, remember, stop_service, wait_for
from tests.devcloud.template import copy_template


def load(state: Path) -> Cloud:
    """The cloud of a state directory; raises DevcloudError where there is none."""
    spare_loopback_from_proxies()
    try:
        facts = json.loads((state / "cloud.json").read_text())
    except FileNotFoundError:
        raise DevcloudError(
            f"there is no development cloud in {state}: start one by `up`"
        ) from None
    return Cloud(
        state=state,
        keystone_port=facts["keystone_port"],
        glance_port=facts["glance_port"],
        limits=Limits(**facts["limits"]),
    )


def is_up(cloud: Cloud) -> bool:
    """Whether both servers of a cloud run."""
    return all(processes.is_running(cloud.pid_file(service)) for service in SERVICES)


def up(state: Path, *, limits: Limits | None = None, tied: bool = False) -> Cloud:
    """Start the cloud of a state directory, making it first where there is none.

    Its ports stay the same from then on; `limits` replace the earlier ones when they are given and
    a server is started. A `tied` cloud ends with this process.
    """
    spare_loopback_from_proxies()
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    with locked(state / "lock"):
        if not (state / "cloud.json").exists():
            _make_state(state)
        cloud = load(state)
        if limits is not None:
            cloud = replace(cloud, limits=limits)
            remember(cloud)
        with ExitStack() as undo:
            for service in SERVICES:
                if not processes.is_running(cloud.pid_file(service)):
                    undo.callback(stop_service, cloud, service)
                    cloud = launch(cloud, service, tied=tied)
            accounts.write_clouds_yaml(cloud.clouds_yaml, cloud.keystone_url)
            for service in SERVICES:
                wait_for(cloud, service)
            undo.pop_all()
    return cloud


def down(state: Path, *, wipe: bool = False) -> None:
    """Stop the servers of a state directory; with `wipe`, delete the directory as well."""
    state = state.resolve()
    if (state / "cloud.json").exists():
        with locked(state / "lock"):
            cloud = load(state)
            for service in ("octavia", *reversed(SERVICES)):
                stop_service(cloud, service)
    elif state.exists() and any(state.iterdir()):
        raise DevcloudError(f"{state} is not the state directory of a development cloud")
    if wipe:
        shutil.rmtree(state, ignore_errors=True)


def up_glance(state: Path, keystone: Cloud, *, limits: Limits, tied: bool = False) -> Cloud:
    """Start a Glance of its own beside another cloud's Keystone, as a second region has one.

    `down` ends it. It is in the catalog when `accounts.register_region` has put it there.
    """
    state.mkdir(parents=True)
    _make_state(state)
    alone = replace(load(state), keystone_port=keystone.keystone_port, limits=limits)
    remember(alone)
    cloud = launch(alone, "glance", tied=tied)
    wait_for(cloud, "glance")
    return cloud


def start_service(cloud: Cloud, service: str, *, tied: bool = False) -> None:
    """Start one stopped server of a cloud and wait until it answers."""
    launch(cloud, service, tied=tied)
    wait_for(cloud, service)


def _make_state(state: Path) -> None:
    copy_template(state)
    for directory in ("log", "run"):
        (state / directory).mkdir(exist_ok=True)
    for directory in ("images", "staging", "tasks", "lock"):
        (state / "glance" / directory).mkdir(exist_ok=True)
    remember(Cloud(state=state, keystone_port=0, glance_port=0))

"""A provisioned state, made once per checkout and copied for each cloud."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.devcloud import accounts
from tests.devcloud.places import (
    CACHE,
    CHECKOUT,
    HERE,
    DevcloudError,
    digest_of,
    locked,
    server_program,
)
from tests.devcloud.server_config import Limits, glance_conf, keystone_conf
from tests.devcloud.servers import Cloud, environment, launch, stop_service, wait_for

RECIPE = (
    CHECKOUT / "requirements" / "devcloud.txt",
    HERE / "template.py",
    HERE / "accounts.py",
    HERE / "server_config.py",
)


def copy_template(state: Path) -> None:
    """Fill a state directory with the databases and keys of a provisioned cloud."""
    with locked(CACHE / "devcloud-template.lock"):
        template = CACHE / f"devcloud-template-{digest_of(RECIPE)}"
        if not template.exists():
            for outdated in CACHE.glob("devcloud-template-*"):
                shutil.rmtree(outdated)
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="devcloud-new-template.") as work:
                _make_template(Path(work)).rename(template)
        shutil.copytree(template, state, dirs_exist_ok=True)


def _make_template(work: Path) -> Path:
    state = work / "state"
    for directory in ("keystone", "glance", "log", "run"):
        (state / directory).mkdir(parents=True)
    cloud = Cloud(state=state, keystone_port=0, glance_port=0)
    _create_databases(state)
    cloud = launch(cloud, "keystone", tied=True)
    try:
        wait_for(cloud, "keystone")
        accounts.provision(cloud.keystone_url, "http://127.0.0.1:0")
    finally:
        stop_service(cloud, "keystone")
    for leftover in ("log", "run"):
        shutil.rmtree(state / leftover)
    (state / "cloud.json").unlink()
    return state


def _create_databases(state: Path) -> None:
    (state / "keystone" / "keystone.conf").write_text(keystone_conf(state, Limits()))
    (state / "glance" / "glance-api.conf").write_text(
        glance_conf(state, Limits(), keystone_url="http://127.0.0.1", glance_url="http://127.0.0.1")
    )
    keystone = _tool(state, "keystone-manage", state / "keystone" / "keystone.conf")
    glance = _tool(state, "glance-manage", state / "glance" / "glance-api.conf")
    own = ["--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())]
    glance("db_sync")
    keystone("fernet_setup", *own)
    keystone("credential_setup", *own)
    keystone("db_sync")
    urls = [f"--bootstrap-{kind}-url=http://127.0.0.1" for kind in ("public", "internal", "admin")]
    password = f"--bootstrap-password={accounts.ADMIN_PASSWORD}"
    keystone("bootstrap", password, f"--bootstrap-region-id={accounts.REGION}", *urls)


def _tool(state: Path, name: str, conf: Path) -> Callable[..., None]:
    program = server_program(name)

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [program, "--config-file", conf, *arguments],
            env=environment(state),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise DevcloudError(f"{name} {arguments[0]} failed:\n{done.stderr[-2000:]}")

    return run

"""Keystone and Glance as processes: how each is started, asked and stopped."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.devcloud import processes
from tests.devcloud.places import HERE, DevcloudError, server_program
from tests.devcloud.server_config import Limits, glance_conf, keystone_conf

READY_SECONDS = 90.0
SERVICES = ("keystone", "glance")


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A development cloud in its state directory."""

    state: Path
    keystone_port: int
    glance_port: int
    limits: Limits = field(default_factory=Limits)

    @property
    def keystone_url(self) -> str:
        return f"http://127.0.0.1:{self.keystone_port}"

    @property
    def glance_url(self) -> str:
        return f"http://127.0.0.1:{self.glance_port}"

    @property
    def clouds_yaml(self) -> Path:
        return self.state / "clouds.yaml"

    def log_file(self, service: str) -> Path:
        return self.state / "log" / f"{service}.log"

    def pid_file(self, service: str) -> Path:
        return self.state / "run" / f"{service}.json"


def remember(cloud: Cloud) -> None:
    facts = {
        "keystone_port": cloud.keystone_port,
        "glance_port": cloud.glance_port,
        "limits": asdict(cloud.limits),
    }
    (cloud.state / "cloud.json").write_text(json.dumps(facts, indent=1))


def launch(cloud: Cloud, service: str, *, tied: bool) -> Cloud:
    """Start one server on its port, or on a free one when it has none yet."""
    port = {"keystone": cloud.keystone_port, "glance": cloud.glance_port}[service]
    with processes.listen(port or None) as listener:
        if not port:
            number = listener.getsockname()[1]
            cloud = (
                replace(cloud, keystone_port=number)
                if service == "keystone"
                else replace(cloud, glance_port=number)
            )
            remember(cloud)
        _configure(cloud)
        processes.start(
            gunicorn(f"{service}_app:application", listener),
            pid_file=cloud.pid_file(service),
            log_file=cloud.state / "log" / f"{service}.out",
            env=environment(cloud.state),
            keep_open=[listener.fileno()],
            tied=tied,
        )
    return cloud


def gunicorn(application: str, listener: socket.socket) -> list[str | Path]:
    """The command that serves a WSGI application on a socket, with one process."""
    return [
        server_program("gunicorn"),
        "--bind", f"fd://{listener.fileno()}",
        "--worker-class", "gthread",
        "--workers", "1",
        "--threads", "8",
        # An upload may take as long as it likes; an idle connection is nobody's.
        "--timeout", "0",
        "--graceful-timeout", "5",
        "--keep-alive", "0",
        "--no-control-socket",
        application,
    ]  # fmt: skip


def _configure(cloud: Cloud) -> None:
    (cloud.state / "keystone" / "keystone.conf").write_text(
        keystone_conf(cloud.state, cloud.limits)
    )
    (cloud.state / "glance" / "glance-api.conf").write_text(
        glance_conf(
            cloud.state,
            cloud.limits,
            keystone_url=cloud.keystone_url,
            glance_url=cloud.glance_url,
        )
    )
    # Keystone is not running when this can change: its port is chosen just before its start.
    with sqlite3.connect(cloud.state / "keystone" / "keystone.db") as database:
        for kind, url in (("identity", f"{cloud.keystone_url}/v3"), ("image", cloud.glance_url)):
            database.execute(
                "UPDATE endpoint SET url = ? WHERE url != ?"
                " AND service_id IN (SELECT id FROM service WHERE type = ?)",
                (url, url, kind),
            )
    database.close()


def environment(state: Path) -> dict[str, str]:
    inherited = {
        # With it, every start would compile OpenStack's modules anew: several seconds.
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE"
    }
    return {
        **inherited,
        "PYTHONPATH": str(HERE / "in_servers"),
        "PYTHONWARNINGS": "ignore",
        "OS_KEYSTONE_CONFIG_DIR": str(state / "keystone"),
        "OS_GLANCE_CONFIG_DIR": str(state / "glance"),
    }


def stop_service(cloud: Cloud, service: str) -> None:
    """Stop one server of a cloud."""
    processes.stop(cloud.pid_file(service))


def wait_for(cloud: Cloud, service: str) -> None:
    """Wait until a server answers; raises DevcloudError with the end of its log if it does not."""
    url = {"keystone": f"{cloud.keystone_url}/v3", "glance": f"{cloud.glance_url}/versions"}[
        service
    ]
    wait_until_answering(service, url, cloud.pid_file(service), _logs(cloud, service))


def wait_until_answering(service: str, url: str, pid_file: Path, logs: Iterable[Path]) -> None:
    """Wait until a server answers at a URL; raises DevcloudError with the ends of its logs."""
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(url):
        if not processes.is_running(pid_file):
            raise DevcloudError(f"{service} ended at once:\n{_tail(logs)}")
        if time.monotonic() > deadline:
            raise DevcloudError(
                f"{service} does not answer after {READY_SECONDS:g} s:\n{_tail(logs)}"
            )
        time.sleep(0.1)


def _answers(url: str) -> bool:
    # Loopback is never behind the proxy that the environment may name.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as response:
            return bool(response.status < 400)
    except urllib.error.HTTPError as error:
        return error.code == 300
    except OSError:
        return False


def _logs(cloud: Cloud, service: str) -> tuple[Path, Path]:
    return cloud.log_file(service), cloud.state / "log" / f"{service}.out"


def _tail(logs: Iterable[Path]) -> str:
    texts = []
    for log in logs:
        if log.exists():
            texts.extend(log.read_text(errors="replace").splitlines()[-15:])
    return "\n".join(texts)

"""Locks on real servers: who has one, who gets it next, and who knows that it is lost."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import LockSettings
from retrofit.errors import CloudError, LockedError, LockLostError
from retrofit.lock.lease import holder_elsewhere
from retrofit.lock.lock import held
from retrofit.lock.names import old_name, shared_name
from tests.devcloud import lock_servers
from tests.devcloud.lock_servers import LockServer

LEASE = 6
SERVERS = {
    "redis": lock_servers.redis,
    "etcd": lock_servers.etcd,
    "zookeeper": lock_servers.zookeeper,
}
# Leases take their time; test_worker_cluster.py takes etcd for one of its tests.
BY_DEFAULT = ("redis",)
HOLDER = """
import sys
from pathlib import Path
from retrofit.config import LockSettings
from retrofit.errors import LockLostError
from retrofit.lock.lease import holder_elsewhere
from retrofit.lock.lock import held
from retrofit.console import configure_logging
configure_logging(verbose=False)
url, lease, state = sys.argv[1:]
try:
    with held(LockSettings(url=url, lease=int(lease)), Path(state), "noble") as lock:
        print("held", flush=True)
        for line in sys.stdin:
            lock.check()
            print("certain", flush=True)
except LockLostError as error:
    print("lost:", error.message, flush=True)
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow) for name in SERVERS
    ],
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LockServer]:
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[LockServer]:
    with lock_servers.redis(tmp_path) as running:
        yield running


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Any]:
    """Take the lock as another machine would: with a state directory of its own."""
    count = iter(range(100))

    def take(url: str) -> Any:
        state = tmp_path / f"machine-{next(count)}"
        return held(LockSettings(url=url, lease=LEASE), state, "noble")

    return take


@contextmanager
def holder(url: str, state: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock in a process, until its stdin ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, str(LEASE), state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert said(process) == "held"
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def check(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return said(process)


def wait_until_taken(take: Callable[[], Any]) -> float:
    """Try until another machine has the lock, and return when (as time.monotonic does)."""
    while True:
        try:
            with take():
                return time.monotonic()
        except LockedError:
            time.sleep(0.1)


def test_one_machine_has_it_until_it_lets_go(
    server: LockServer, machine: Any, tmp_path: Path
) -> None:
    with holder(server.url(), tmp_path / "other") as other:
        assert check(other) == "certain"
        with pytest.raises(LockedError, match="on another machine"), machine(server.url()):
            pass
        # Longer than a lease: it is renewed while it is held.
        time.sleep(LEASE + 1)
        with pytest.raises(LockedError), machine(server.url()):
            pass
        assert check(other) == "certain"
        assert other.stdin is not None
        other.stdin.close()
        assert other.wait(10) == 0
    with machine(server.url()) as lock:
        lock.check()


@pytest.mark.slow
def test_another_machine_takes_over_when_its_holder_is_killed(
    server: LockServer, machine: Any, tmp_path: Path
) -> None:
    with holder(server.url(), tmp_path / "other") as other:
        other.kill()
        other.wait()
        killed = time.monotonic()
        # The lease, the server's own tick, and a busy machine.
        assert wait_until_taken(lambda: machine(server.url())) - killed < LEASE + 10


def test_who_is_cut_off_knows_it_before_another_machine_has_the_lock(
    server: LockServer, machine: Any
) -> None:
    told: list[float] = []

    def build() -> None:
        with machine(server.url(wire.port)):
            wire.cut = True
            begun.set()
            try:
                time.sleep(60)  # it does not ask, it is told
            finally:
                told.append(time.monotonic())

    begun = threading.Event()
    with lock_servers.wire(server) as wire, ThreadPoolExecutor(1) as elsewhere:
        taken = elsewhere.submit(
            lambda: begun.wait() and wait_until_taken(lambda: machine(server.url()))
        )
        with pytest.raises(LockLostError, match="has not answered"):
            build()
        assert told[0] < taken.result(60)


def test_who_slept_past_its_lease_does_not_write(
    server: LockServer, machine: Any, tmp_path: Path
) -> None:
    with holder(server.url(), tmp_path / "other") as other:
        os.kill(other.pid, signal.SIGSTOP)
        wait_until_taken(lambda: machine(server.url()))
        os.kill(other.pid, signal.SIGCONT)
        assert check(other).startswith("lost: the lock of target noble was lost")


def test_a_short_silence_of_the_server_costs_nothing(redis: LockServer, machine: Any) -> None:
    with lock_servers.wire(redis) as wire, machine(redis.url(wire.port)) as lock:
        wire.cut = True
        mended = threading.Timer(1.5, setattr, (wire, "cut", False))
        mended.start()
        lock.check()
        assert not wire.cut
        lock.check()
        mended.join()


def test_a_lock_that_somebody_broke_is_lost_at_once(redis: LockServer, machine: Any) -> None:
    def write() -> None:
        with machine(redis.url()) as lock:
            subprocess.run(["redis-cli", "-p", str(redis.port), "flushall"], check=True, timeout=10)
            lock.check()

    with pytest.raises(LockLostError, match="not ours any more") as lost:
        write()
    assert lost.value.exit_code == 75


@pytest.mark.parametrize("scheme", ["redis", "etcd3+http", "zookeeper"])
def test_a_server_out_of_reach_is_named(machine: Any, scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"{scheme}://user:secret@127.0.0.1:{unused.getsockname()[1]}"
        named = pytest.raises(CloudError, match=f"{re.escape(scheme)}://127.0.0.1:")
        with named as failure, machine(url):
            pass
    assert "secret" not in failure.value.message
    assert failure.value.hint


def test_a_local_run_is_told_apart_from_one_elsewhere(redis: LockServer, tmp_path: Path) -> None:
    settings = LockSettings(url=redis.url(), lease=LEASE)
    busy = pytest.raises(LockedError, match="on this machine")
    with held(settings, tmp_path, "noble"), busy, held(settings, tmp_path, "noble"):
        pass


def test_who_holds_it_is_named_on_other_machines_until_it_lets_go(
    server: LockServer, machine: Any, tmp_path: Path
) -> None:
    url, name = server.url(), old_name("noble")
    with holder(url, tmp_path / "first") as first:
        with pytest.raises(LockedError) as refused, machine(url):
            pass
        there = f"process {first.pid} on {socket.gethostname()}"
        assert refused.value.message.endswith(f"on another machine: {there}")
        for _ in range(2):  # renewals keep the note
            found = holder_elsewhere(url, LEASE, name)
            assert found is not None
            assert found.phrase() == there
            time.sleep(LEASE * 0.75)
        assert first.stdin is not None
        first.stdin.close()
        first.wait(timeout=30)
    assert holder_elsewhere(url, LEASE, name) is None


def test_targets_have_locks_of_their_own(redis: LockServer, tmp_path: Path) -> None:
    settings = LockSettings(url=redis.url(), lease=LEASE)
    with held(settings, tmp_path, "noble") as noble, held(settings, tmp_path, "jammy") as jammy:
        noble.check()
        jammy.check()


def named(cloud: str) -> Callable[[], bytes]:
    return lambda: shared_name(
        project_id=cloud, region="one", tag="octavia-amphora", target="noble"
    )


def test_two_clouds_on_one_server_do_not_wait_for_each_other(
    redis: LockServer, tmp_path: Path
) -> None:
    settings = LockSettings(url=redis.url(), lease=LEASE, exclude_0_1=False)
    one, other, third = (tmp_path / name for name in ("one", "other", "third"))
    with (
        held(settings, one, "noble", named("a")) as first,
        held(settings, other, "noble", named("b")) as second,
    ):
        first.check()
        second.check()
        busy = pytest.raises(LockedError, match="on another machine")
        with busy, held(settings, third, "noble", named("b")):
            pass


def test_with_the_name_of_0_1_0_two_clouds_wait_for_each_other(
    redis: LockServer, tmp_path: Path
) -> None:
    settings = LockSettings(url=redis.url(), lease=LEASE)
    busy = pytest.raises(LockedError, match="on another machine")
    with (
        held(settings, tmp_path / "one", "noble", named("a")),
        busy as refused,
        held(settings, tmp_path / "other", "noble", named("b")),
    ):
        pass
    assert "lock.exclude_0_1" in str(refused.value.hint)


def test_a_lock_that_is_refused_halfway_holds_nothing(redis: LockServer, tmp_path: Path) -> None:
    """The new name is taken by another machine: the old one is free again at once."""
    settings = LockSettings(url=redis.url(), lease=LEASE)
    alone = settings.model_copy(update={"exclude_0_1": False})
    busy = pytest.raises(LockedError)
    with held(alone, tmp_path / "one", "noble", named("a")):
        with busy, held(settings, tmp_path / "other", "noble", named("a")):
            pass
        with held(settings, tmp_path / "other", "noble", named("b")) as lock:
            lock.check()


def test_both_names_are_renewed(redis: LockServer, tmp_path: Path) -> None:
    settings = LockSettings(url=redis.url(), lease=LEASE)
    with held(settings, tmp_path / "one", "noble", named("a")) as lock:
        time.sleep(LEASE * 1.5)
        lock.check()
        for exclude in (True, False):
            other = settings.model_copy(update={"exclude_0_1": exclude})
            with pytest.raises(LockedError), held(other, tmp_path / "b", "noble", named("a")):
                pass

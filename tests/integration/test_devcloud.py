"""The development cloud does what the tests that stand on it assume."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from glanceclient import exc as glance_errors
from keystoneauth1 import exceptions as keystone_errors

from tests.devcloud import cloud as clouds
from tests.devcloud import stock
from tests.devcloud.fixtures import Devcloud
from tests.devcloud.octavia import NoAmphoraImageError
from tests.devcloud.places import CHECKOUT, DevcloudError, server_program
from tests.devcloud.processes import listen
from tests.devcloud.server_config import Limits


def processes_about(state: Path) -> list[str]:
    """Command lines of processes that have a file of a state directory open, as servers' logs."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            opened = [handle.readlink() for handle in (entry / "fd").iterdir()]
            if any(file.is_relative_to(state) for file in opened):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, ProcessLookupError):
            continue
    return found


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.devcloud", *map(str, arguments)],
        cwd=CHECKOUT,
        # A proxy is the rule where clouds are, and has nothing to do with one on loopback.
        env={**os.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": "example.test"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_up_and_down_by_command_leave_no_process_and_no_file(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    try:
        first = command("up", "--state", state)
        assert first.returncode == 0, first.stderr
        cloud = clouds.load(state)
        assert str(cloud.clouds_yaml) in first.stdout
        assert len(processes_about(state)) >= 4, "two masters and their workers"

        asked = command("octavia-answer", "--state", state)
        assert "Failed to retrieve image with octavia-amphora tag" in asked.stderr

        again = command("up", "--state", state)
        assert again.returncode == 0
        assert "already up" in again.stderr
        assert clouds.load(state) == cloud
    finally:
        last = command("down", "--state", state, "--wipe")
    assert last.returncode == 0, last.stderr
    assert processes_about(state) == []
    assert not state.exists()


@pytest.mark.slow
def test_two_clouds_live_side_by_side(
    devcloud: Devcloud,
    devcloud_with: Callable[[Limits], Devcloud],
    tiny_image: Callable[..., Path],
) -> None:
    other = devcloud_with(Limits())
    assert {other.keystone_url, other.glance_url}.isdisjoint(
        {devcloud.keystone_url, devcloud.glance_url}
    )
    planted = other.plant(tiny_image())
    assert [image["id"] for image in other.images()] == [planted]
    assert planted not in [image["id"] for image in devcloud.images()]


@pytest.mark.slow
def test_a_stopped_cloud_comes_back_with_its_ports_and_its_images(
    tmp_path: Path, tiny_image: Callable[..., Path]
) -> None:
    state = tmp_path / "cloud"
    try:
        before = Devcloud(running=clouds.up(state, tied=True))
        planted = before.plant(tiny_image())
        clouds.down(state)
        assert processes_about(state) == []
        after = Devcloud(running=clouds.up(state, tied=True))
        assert after.running == before.running
        assert [image["id"] for image in after.images()] == [planted]
    finally:
        clouds.down(state, wipe=True)


@pytest.mark.slow
def test_down_leaves_a_process_alone_that_merely_has_the_number(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    cloud = clouds.up(state, tied=True)
    with subprocess.Popen(["sleep", "60"]) as bystander:
        try:
            keystone = cloud.pid_file("keystone")
            truth = keystone.read_text()
            keystone.write_text(f'{{"pid": {bystander.pid}, "started": 1}}')
            assert not clouds.is_up(cloud)
            clouds.stop_service(cloud, "keystone")
            assert bystander.poll() is None
            keystone.write_text(truth)
        finally:
            clouds.down(state, wipe=True)
            bystander.kill()
    assert processes_about(state) == []


@pytest.mark.slow
def test_down_ends_workers_whose_master_was_killed(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    clouds.up(state, tied=True)
    try:
        for line in (state / "run").glob("*.json"):
            os.kill(yaml.safe_load(line.read_text())["pid"], signal.SIGKILL)
    finally:
        clouds.down(state, wipe=True)
    assert processes_about(state) == []


@pytest.mark.slow
def test_a_cloud_of_the_tests_ends_with_the_process_that_made_it(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    program = (
        "import os, signal, sys; from pathlib import Path; from tests.devcloud import cloud;"
        "cloud.up(Path(sys.argv[1]), tied=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(state)], cwd=CHECKOUT, check=False)
    assert (state / "cloud.json").exists()
    deadline = time.monotonic() + 20
    while processes_about(state) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_about(state) == []


@pytest.mark.slow
def test_up_says_why_a_server_does_not_start(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    try:
        with pytest.raises(DevcloudError, match="glance ended at once"):
            clouds.up(
                state, limits=Limits(extra_glance="[glance_store]\ndefault_backend = nowhere")
            )
        assert processes_about(state) == []
    finally:
        clouds.down(state, wipe=True)


@pytest.mark.slow
def test_up_says_that_its_port_was_taken_meanwhile(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    cloud = clouds.up(state, tied=True)
    try:
        clouds.stop_service(cloud, "glance")
        with listen(cloud.glance_port), pytest.raises(DevcloudError, match=str(cloud.glance_port)):
            clouds.up(state, tied=True)
    finally:
        clouds.down(state, wipe=True)


def test_down_refuses_a_directory_that_is_no_cloud(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    finished = command("down", "--state", tmp_path, "--wipe")
    assert finished.returncode == 1
    assert "is not the state directory of a development cloud" in finished.stderr
    assert (tmp_path / "precious").exists()


def test_clouds_yaml_is_for_its_owner_and_names_every_account(devcloud: Devcloud) -> None:
    assert devcloud.clouds_yaml.stat().st_mode & 0o077 == 0
    known = yaml.safe_load(devcloud.clouds_yaml.read_text())["clouds"]
    assert set(known) == {"demo", "demo-admin", "demo-octavia", "demo-sync", "demo-tenant"}


def test_the_retrofit_user_may_not_publicize(
    clean_glance: Devcloud, tiny_image: Callable[..., Path]
) -> None:
    planted = clean_glance.plant(tiny_image())
    with pytest.raises(glance_errors.HTTPForbidden):
        clean_glance.glance().images.update(planted, visibility="public")


def test_a_tenant_can_plant_a_foreign_image(
    clean_glance: Devcloud, tiny_image: Callable[..., Path]
) -> None:
    planted = clean_glance.plant(
        tiny_image(), cloud=clean_glance.tenant_cloud, tags=["octavia-amphora"]
    )
    (seen,) = clean_glance.images()
    assert seen["owner"] == clean_glance.project_id("tenant")
    assert clean_glance.images(clean_glance.cloud) == []
    # As in a real cloud: Octavia's user sees it unless it is told whose images to take.
    assert clean_glance.octavia_answer() == planted
    with pytest.raises(NoAmphoraImageError):
        clean_glance.octavia_answer(owner=clean_glance.project_id("services"))


def test_octavia_takes_the_newest_tagged_image_that_is_not_hidden(
    clean_glance: Devcloud, tiny_image: Callable[..., Path]
) -> None:
    owner = clean_glance.project_id("services")
    old = clean_glance.plant(tiny_image("old.qcow2"), tags=["octavia-amphora"])
    new = clean_glance.plant(tiny_image("new.qcow2"), tags=["octavia-amphora"])
    assert clean_glance.octavia_answer(owner=owner) == new
    clean_glance.glance().images.update(new, os_hidden=True)
    assert clean_glance.octavia_answer(owner=owner) == old


@pytest.mark.slow
def test_a_token_expires_when_it_is_told_to(devcloud_with: Callable[[Limits], Devcloud]) -> None:
    cloud = devcloud_with(Limits(token_ttl=8))
    cloud.images()  # the first request to each server is the slow one
    stale = {"X-Auth-Token": cloud.session().get_token()}
    url = f"{cloud.glance_url}/v2/images"
    assert cloud.session().get(url, headers=stale, authenticated=False).status_code == 200
    time.sleep(9)
    with pytest.raises(keystone_errors.Unauthorized):
        cloud.session().get(url, headers=stale, authenticated=False)


@pytest.mark.slow
def test_glance_keeps_to_its_limits(
    devcloud_with: Callable[[Limits], Devcloud], tiny_image: Callable[..., Path]
) -> None:
    image = tiny_image()
    capped = devcloud_with(Limits(image_size_cap=image.stat().st_size - 1))
    with pytest.raises(glance_errors.HTTPOverLimit):
        capped.plant(image)
    full = devcloud_with(Limits(user_storage_quota=f"{image.stat().st_size + 1}B"))
    full.plant(image)
    with pytest.raises(glance_errors.HTTPOverLimit):
        full.plant(image)


@pytest.mark.slow
def test_glance_can_be_away_for_a_while(devcloud: Devcloud) -> None:
    address = ("127.0.0.1", devcloud.running.glance_port)
    with devcloud.without_glance(), pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)
    devcloud.images()


@pytest.mark.slow
def test_nobody_else_takes_the_port_of_a_glance_that_is_away(devcloud: Devcloud) -> None:
    port = devcloud.running.glance_port
    program = (
        "import sys; from tests.devcloud import processes;"
        "processes.PORTS = range(int(sys.argv[1]), int(sys.argv[1]) + int(sys.argv[2]));"
        "print(processes.listen(None).getsockname()[1])"
    )

    def others_choice(among: int) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", program, str(port), str(among)]
        return subprocess.run(
            words, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
        )

    with devcloud.without_glance():
        only_this = others_choice(among=1)
        one_of_many = others_choice(among=50)
    assert f"between {port} and {port + 1} on 127.0.0.1 is taken" in only_this.stderr
    assert int(one_of_many.stdout) != port


def test_many_clients_at_once_meet_no_locked_database(
    clean_glance: Devcloud, tiny_image: Callable[..., Path]
) -> None:
    image = tiny_image()
    program = (
        "import sys; from pathlib import Path; from tests.devcloud import cloud;"
        "from tests.devcloud.fixtures import Devcloud;"
        "there = Devcloud(running=cloud.load(Path(sys.argv[1])));"
        "[there.glance().image_tags.update(there.plant(Path(sys.argv[2])), 'seen')"
        " for _ in range(5)]"
    )
    argv = [sys.executable, "-c", program, str(clean_glance.state), str(image)]
    clients = [subprocess.Popen(argv, cwd=CHECKOUT) for _ in range(4)]
    assert [client.wait(120) for client in clients] == [0] * 4
    assert [image["tags"] for image in clean_glance.images()] == [["seen"]] * 20


TURNS = """
import threading
import time

import sqlite_writers
from sqlalchemy import create_engine, pool, text

sqlite_writers.wait_for_each_other()
engine = create_engine("sqlite:///turns.db?timeout=60", poolclass=pool.NullPool)
turns = []
begin = threading.Barrier(8)


def write(number):
    begin.wait()
    while len(turns) < 160:
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            turns.append(number)
            time.sleep(0.02)


threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*turns)
"""


def test_nobody_who_writes_waits_while_others_go_again_and_again(tmp_path: Path) -> None:
    done = subprocess.run(
        [server_program("python"), "-c", TURNS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tests/devcloud/in_servers")},
        capture_output=True,
        text=True,
        check=True,
    )
    turns = done.stdout.split()
    waited = {
        number: max(len(between.split()) for between in f" {' '.join(turns)} ".split(f" {number} "))
        for number in sorted(set(turns))
    }
    assert len(waited) == 8
    # The first may have all turns until the last has come so far.
    assert max(waited.values()) < 20, waited


def test_the_first_logins_of_a_day_meet_no_locked_database(devcloud: Devcloud) -> None:
    def log_in(_number: int) -> str | None:
        return Devcloud(running=devcloud.running).session().get_token()

    with ThreadPoolExecutor(8) as many:
        for _morning in range(8):
            # Keystone writes it at a login, when it is not today: those of a running test suite at
            # midnight, for one.
            keystone = sqlite3.connect(devcloud.state / "keystone" / "keystone.db", timeout=30)
            with closing(keystone), keystone:
                keystone.execute("UPDATE user SET last_active_at = '2000-01-01'")
            assert all(many.map(log_in, range(8)))


MMDEBSTRAPS = stock.Archive(main="http://10.0.0.2/debian", security="http://10.0.0.2/security")


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (
            [
                ["https://example.test/cloud", "cloud-sdk-bookworm", "main"],
                ["http://10.0.0.1/debian/", "bookworm", "main"],
                ["http://10.0.0.1/debian/", "bookworm-updates", "main"],
                ["http://10.0.0.1/debian-security/", "bookworm-security", "main"],
            ],
            stock.Archive(
                main="http://10.0.0.1/debian", security="http://10.0.0.1/debian-security"
            ),
        ),
        ([["http://10.0.0.1/ubuntu/", "noble", "main"]], MMDEBSTRAPS),
        ([["mirror+file:/etc/apt/mirrors/debian.list", "bookworm", "main"]], MMDEBSTRAPS),
        ([], MMDEBSTRAPS),
    ],
)
def test_the_stock_image_comes_from_the_archive_that_this_machine_uses(
    targets: list[list[str]], expected: stock.Archive
) -> None:
    assert stock.archive_among(targets, otherwise=MMDEBSTRAPS) == expected


def test_mmdebstrap_is_asked_where_apt_knows_no_debian() -> None:
    archive = stock.defaults_of_mmdebstrap(stock.MMDEBSTRAP.read_text())
    assert archive.main.startswith("http")
    assert archive.main.endswith("/debian")
    assert archive.security.endswith("/debian-security")
    with pytest.raises(DevcloudError, match="names no Debian archive"):
        stock.defaults_of_mmdebstrap("another program")

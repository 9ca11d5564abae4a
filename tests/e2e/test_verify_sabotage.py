"""Images that a careless build could have made: each is refused, by the right check."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import VerifySettings
from retrofit.model import Verdict
from retrofit.system.own_directory import MARKER
from retrofit.system.progress import silent
from retrofit.verify.request import VerifyRequest
from retrofit.verify.verify import verify
from tests.devcloud.disks import opened, raw_copy
from tests.e2e.accelerator import ACCELERATOR
from tests.e2e.amphora_images import amphora_image, build_settings
from tests.e2e.leftovers import loop_devices, mounts, nothing_left, processes
from tests.e2e.sabotage import SABOTAGES, Sabotage, boot_with

RETROFIT = Path(sys.executable).with_name("retrofit")
ONE_CHECK_SECONDS = 1800


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sound image as a raw file, to copy from."""
    directory = tmp_path_factory.mktemp("good")
    yield raw_copy(amphora_image("distro", "noble"), "qcow2", directory / "good.raw")
    shutil.rmtree(directory)


@pytest.fixture
def spoilt(good: Path, tmp_path: Path) -> Iterator[Callable[[Callable[[Path], None]], Path]]:
    """Copy the sound image and change one thing in it."""

    def spoil(change: Callable[[Path], None]) -> Path:
        copy = tmp_path / "spoilt.raw"
        subprocess.run(["cp", "--sparse=always", good, copy], check=True)
        with opened(copy) as root:
            change(root)
        return copy

    yield spoil
    (tmp_path / "spoilt.raw").unlink(missing_ok=True)


def invariants(
    image: Path, tmp_path: Path, *, only: tuple[str, ...] = (), **settings: object
) -> Verdict:
    work_dir = tmp_path / "work"
    settings = {"level": "boot", "accelerator": ACCELERATOR, **settings}
    with nothing_left(work_dir):
        return verify(
            VerifyRequest(
                image=image,
                disk_format="raw",
                settings=VerifySettings.model_validate(settings),
                build=build_settings("distro"),
                architecture="x86_64",
                work_dir=work_dir,
                log_dir=tmp_path / "logs",
                progress=silent,
                only=only,
            )
        )


def test_a_sound_image_keeps_the_offline_contract(good: Path, tmp_path: Path) -> None:
    verdict = invariants(good, tmp_path, level="offline")
    assert verdict.failures == ()
    assert verdict.how == "offline"
    assert set(verdict.facts) == {"haproxy_version", "amphora_agent_version", "kernel_version"}


def test_the_evidence_is_kept(good: Path, tmp_path: Path) -> None:
    invariants(good, tmp_path, level="offline")
    logs = tmp_path / "logs"
    checks = json.loads((logs / "checks.json").read_text())
    for check in checks["checks"]:
        if check["outcome"] == "skipped":
            assert check["detail"].startswith("skipped: verify.level is offline"), check
        else:
            known = {"warned"} if check["name"] == "agent-known-defects" else set()
            assert check["outcome"] in {"passed", "not applicable", *known}, check
    assert "haproxy 3." in (logs / "manifest.txt").read_text()
    bill = json.loads((logs / "sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert any(part["purl"].startswith("pkg:deb/debian/haproxy@") for part in bill["components"])


def test_everything_that_is_wrong_is_named_at_once(
    spoilt: Callable[..., Path], tmp_path: Path
) -> None:
    sabotages = [each for each in SABOTAGES if each.offline]

    def change(root: Path) -> None:
        for sabotage in sabotages:
            sabotage.change(root)

    verdict = invariants(spoilt(change), tmp_path, level="boot")
    assert {each.check for each in sabotages} <= {check.name for check in verdict.failures}
    assert verdict.how == "offline"


@pytest.mark.slow
@pytest.mark.parametrize(
    "sabotage", [each for each in SABOTAGES if each.offline], ids=lambda each: each.name
)
def test_a_sabotaged_image_is_refused_without_booting_it(
    sabotage: Sabotage, spoilt: Callable[..., Path], tmp_path: Path
) -> None:
    verdict = invariants(spoilt(sabotage.change), tmp_path, level="boot")
    assert [check.name for check in verdict.failures] == [sabotage.check]
    assert verdict.how == "offline"
    assert not (tmp_path / "logs" / "console.log").exists()
    (tmp_path / "command").mkdir()
    found = refused_by([sabotage.check], tmp_path / "spoilt.raw", tmp_path / "command")
    assert found["how"] == "offline"


def configured(tmp_path: Path, level: str) -> list[str | Path]:
    """Return the beginning of a command that keeps all it makes below `tmp_path`."""
    config = tmp_path / "retrofit.toml"
    paths = "".join(f'{name} = "{tmp_path / name}"\n' for name in ("state", "work", "logs"))
    verify = f'level = "{level}"\naccelerator = "{ACCELERATOR}"\n'
    config.write_text(f"[verify]\n{verify}[paths]\n{paths}")
    return [RETROFIT, "--config", config, "verify"]


def refused_by(checks: Sequence[str], image: Path, tmp_path: Path) -> dict[str, Any]:
    """Have the command make checks with what they need; it must exit with 6, for just those."""
    command = configured(tmp_path, "full")
    for check in checks:
        command += ["--only", check]
    finished = subprocess.run(
        [*command, image],
        capture_output=True,
        text=True,
        timeout=ONE_CHECK_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert finished.returncode == 6, finished.stderr
    assert "Traceback" not in finished.stderr
    (evidence,) = (tmp_path / "logs").glob("**/checks.json")
    found: dict[str, Any] = json.loads(evidence.read_text())
    failed = [each for each in found["checks"] if each["outcome"] == "failed"]
    assert [each["name"] for each in failed] == list(checks), failed
    print(f"{sum(each['seconds'] for each in found['checks']):.0f} s", end=": ")
    for each in failed:
        assert each["name"] in finished.stdout
        print(f"{each['name']}: {each['detail'][:300]}")
    return found


def test_the_command_names_the_check_and_exits_with_6(
    spoilt: Callable[..., Path], tmp_path: Path
) -> None:
    image = spoilt(lambda root: (root / "usr/sbin/haproxy").unlink())
    finished = subprocess.run(
        [*configured(tmp_path, "offline"), image],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert finished.returncode == 6, finished.stderr
    assert "haproxy-installed" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.sampled(1)
@pytest.mark.parametrize("trace", ["work/**/inside/root/etc", "logs/**/console.log"])
def test_an_interrupted_verification_leaves_nothing(trace: str, good: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*configured(tmp_path, "boot"), good], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as verification:
        deadline = time.monotonic() + 300
        while not any(tmp_path.glob(trace)):
            assert verification.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        verification.send_signal(signal.SIGINT)
        _, story = verification.communicate(timeout=60)
    assert verification.returncode == 130, story
    assert b"Traceback" not in story
    work = tmp_path / "work"
    assert (processes(work), mounts(work), loop_devices(work)) == ([], [], [])
    left = [path for path in work.rglob("*") if path.is_file() and path.stat().st_size]
    assert left == [work / MARKER]


def test_a_file_without_partitions_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "empty.raw"
    image.write_bytes(bytes(1 << 20))
    verdict = invariants(image, tmp_path)
    assert [check.name for check in verdict.failures] == ["filesystems"]


@pytest.mark.slow
def test_a_kernel_panic_ends_the_wait_at_once(spoilt: Callable[..., Path], tmp_path: Path) -> None:
    image = spoilt(boot_with("init=/bin/false"))
    verdict = invariants(image, tmp_path, timeout=600)
    assert [check.name for check in verdict.failures] == ["agent-answers"]
    assert "Kernel panic" in verdict.failures[0].detail
    assert verdict.failures[0].seconds < 400
    assert "Kernel panic" in (tmp_path / "logs" / "console.log").read_text(errors="replace")


@pytest.mark.slow
def test_a_hung_guest_ends_at_its_timeout(spoilt: Callable[..., Path], tmp_path: Path) -> None:
    # It stays in the initramfs, waiting for a root that does not come.
    image = spoilt(boot_with("root=LABEL=nowhere rootdelay=3600"))
    verdict = invariants(image, tmp_path, timeout=60)
    assert [check.name for check in verdict.failures] == ["agent-answers"]
    assert "no answer within 60 s" in verdict.failures[0].detail
    assert 60 <= verdict.failures[0].seconds < 120


def test_the_words_of_a_dying_qemu_are_reported(good: Path, tmp_path: Path) -> None:
    verdict = invariants(good, tmp_path, memory=1 << 20, accelerator="tcg")
    assert [check.name for check in verdict.failures] == ["agent-answers"]
    assert "QEMU ended with exit code 1" in verdict.failures[0].detail
    assert "memory" in verdict.failures[0].detail


@pytest.mark.slow
@pytest.mark.parametrize(
    "sabotage", [each for each in SABOTAGES if not each.offline], ids=lambda each: each.name
)
def test_what_only_shows_when_it_runs_is_refused_by_running_it(
    sabotage: Sabotage, spoilt: Callable[..., Path], tmp_path: Path
) -> None:
    found = refused_by([sabotage.check], spoilt(sabotage.change), tmp_path)
    assert found["how"].startswith("full-")


@pytest.mark.slow
def test_two_faults_that_only_show_when_it_runs_are_both_named(
    spoilt: Callable[..., Path], tmp_path: Path
) -> None:
    # In one boot: a boot each is for the slow matrix.
    names = ("ping-without-its-path", "certificate-rotation-ignored")
    sabotages = [each for each in SABOTAGES if each.name in names]

    def change(root: Path) -> None:
        for sabotage in sabotages:
            sabotage.change(root)

    found = refused_by([each.check for each in sabotages], spoilt(change), tmp_path)
    assert found["how"].startswith("full-")

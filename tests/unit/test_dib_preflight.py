from __future__ import annotations

import platform
from pathlib import Path

import pytest

from retrofit.dib import preflight
from retrofit.dib.preflight import require_runnable
from retrofit.errors import BuildError

FOREIGN = "aarch64" if platform.machine() != "aarch64" else "x86_64"
REGISTERED = """\
enabled
interpreter /usr/libexec/qemu-binfmt/it
flags: {flags}
offset 0
magic 7f454c46
"""


@pytest.fixture
def binfmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(preflight, "BINFMT", tmp_path)
    return tmp_path


def test_this_machine_runs_its_own_programs(binfmt: Path) -> None:
    require_runnable(platform.machine())


def test_another_architecture_is_refused_with_the_way_out(binfmt: Path) -> None:
    with pytest.raises(BuildError, match=f"cannot run programs of {FOREIGN}") as refused:
        require_runnable(FOREIGN)
    assert platform.machine() in refused.value.message
    assert "qemu-user-static" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("content", "runs"),
    [
        (REGISTERED.format(flags="F"), True),
        (REGISTERED.format(flags="OCF"), True),
        (REGISTERED.format(flags="OC"), False),  # not found within a chroot
        (REGISTERED.format(flags=""), False),
        (REGISTERED.format(flags="F").replace("enabled", "disabled"), False),
        ("", False),
    ],
)
def test_an_emulator_counts_when_it_works_in_a_chroot_too(
    binfmt: Path, content: str, runs: bool
) -> None:
    (binfmt / f"qemu-{FOREIGN}").write_text(content)
    if runs:
        require_runnable(FOREIGN)
        return
    with pytest.raises(BuildError):
        require_runnable(FOREIGN)


def test_knows_what_qemu_calls_32_bit_arm(binfmt: Path) -> None:
    (binfmt / "qemu-arm").write_text(REGISTERED.format(flags="F"))
    require_runnable("armv7l")


def test_this_machine_without_an_emulator_refuses_a_foreign_architecture() -> None:
    if not list(preflight.BINFMT.glob("qemu-*")):
        with pytest.raises(BuildError):
            require_runnable(FOREIGN)

"""Whether a machine can verify is asked before anything is built."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from retrofit.config import VerifySettings
from retrofit.errors import VerifyError
from retrofit.produce.preflight import verification
from retrofit.produce.preflight.verification import require_verifiable
from retrofit.verify.boot import kvm


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine that has everything; tests take away from it."""
    has: dict[str, Any] = {
        "missing": set(), "network": True, "ipv6": True, "raw": True
    }  # fmt: skip

    class Inside:
        """A network namespace that opens what the machine may open."""

        @property
        def ipv6(self) -> bool:
            return bool(has["ipv6"])

        def open_socket(self, *_: object, **__: object) -> io.BytesIO:
            if not has["raw"]:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            return io.BytesIO()

    @contextmanager
    def isolated() -> Iterator[Inside]:
        if not has["network"]:
            raise VerifyError("cannot make a network of the test's own")
        yield Inside()

    def which(tool: str) -> str | None:
        return None if tool in has["missing"] else f"/usr/bin/{tool}"

    (tmp_path / "kvm").touch()
    monkeypatch.setattr(verification.shutil, "which", which)
    monkeypatch.setattr(verification, "isolated", isolated)
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(verification, "find_firmware", lambda _: None)
    return has


def test_a_machine_with_everything_will_do(machine: dict[str, Any]) -> None:
    for setting in ("auto", "kvm", "tcg"):
        require_verifiable(VerifySettings(accelerator=setting), "x86_64")  # type: ignore[arg-type]
    require_verifiable(VerifySettings(), "aarch64")


@pytest.mark.parametrize(
    ("tool", "architecture", "package"),
    [
        ("qemu-img", "x86_64", "qemu-utils"),
        ("qemu-system-x86_64", "x86_64", "qemu-system-x86"),
        ("qemu-system-aarch64", "aarch64", "qemu-system-arm"),
        ("xorriso", "x86_64", "xorriso"),
        ("ip", "x86_64", "iproute2"),
    ],
)
def test_a_missing_tool_is_named_with_its_package(
    machine: dict[str, Any], tool: str, architecture: str, package: str
) -> None:
    machine["missing"] = {tool}
    with pytest.raises(VerifyError, match=f"cannot verify without {tool}") as told:
        require_verifiable(VerifySettings(), architecture)
    assert f"apt-get install {package};" in (told.value.hint or "")


def test_looking_inside_needs_neither_qemu_nor_network(machine: dict[str, Any]) -> None:
    machine.update(missing={"qemu-system-x86_64", "xorriso"}, network=False)
    require_verifiable(VerifySettings(level="offline"), "riscv64")
    machine["missing"] = {"mount"}
    with pytest.raises(VerifyError, match="cannot verify without mount"):
        require_verifiable(VerifySettings(level="offline"), "x86_64")


def test_what_is_asked_for_must_be_there(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(VerifyError, match="images for riscv64 cannot be booted here"):
        require_verifiable(VerifySettings(), "riscv64")
    with pytest.raises(VerifyError, match="has no BIOS"):
        require_verifiable(VerifySettings(firmware="bios"), "aarch64")
    (tmp_path / "kvm").unlink()
    require_verifiable(VerifySettings(), "x86_64")
    with pytest.raises(VerifyError, match=r"kvm does not exist, and verify.accelerator is kvm"):
        require_verifiable(VerifySettings(accelerator="kvm"), "x86_64")
    machine["network"] = False
    with pytest.raises(VerifyError, match="cannot make a network"):
        require_verifiable(VerifySettings(), "x86_64")


def test_firmware_is_looked_for_where_it_is_needed(
    machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_platform: object) -> None:
        raise VerifyError("no UEFI firmware")

    monkeypatch.setattr(verification, "find_firmware", missing)
    require_verifiable(VerifySettings(), "x86_64")
    for settings, architecture in ((VerifySettings(firmware="uefi"), "x86_64"),
                                   (VerifySettings(), "aarch64")):  # fmt: skip
        with pytest.raises(VerifyError, match="no UEFI firmware"):
            require_verifiable(settings, architecture)


FULL = VerifySettings(level="full")


@pytest.mark.parametrize(
    ("lacks", "message", "way_out"),
    [
        ("raw", "raw sockets cannot be opened", "--cap-add NET_RAW"),
        ("raw", "raw sockets cannot be opened", "retrofit-scheduler install"),
        ("ipv6", "this kernel has no IPv6", "verify.level = boot"),
    ],
)
def test_a_machine_that_lacks_something_for_a_check_is_refused_with_the_option(
    machine: dict[str, Any], lacks: str, message: str, way_out: str
) -> None:
    require_verifiable(FULL, "x86_64")
    machine[lacks] = False
    require_verifiable(VerifySettings(level="boot"), "x86_64")
    with pytest.raises(VerifyError, match=message) as refused:
        require_verifiable(FULL, "x86_64")
    assert way_out in (refused.value.hint or "")

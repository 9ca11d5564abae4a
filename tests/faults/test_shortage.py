"""What the fault tests take away is really gone, and only from whom it was taken."""

from __future__ import annotations

import mmap
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from retrofit.errors import BuildError
from retrofit.produce.preflight.machine import check_loop_devices
from retrofit.system.memory import memory
from tests.faults import shortage
from tests.faults.machine import in_use
from tests.integration.harness import CloudHarness


def in_a_process(work: Callable[[], object]) -> None:
    """Do it in a process of its own, and fail as it fails there."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("harm", "message"),
    [(shortage.fill, "No space left on device"), (shortage.break_down, "Read-only file system")],
)
def test_a_directory_on_a_filesystem_of_its_own_can_be_harmed(
    harness: CloudHarness, harm: Callable[[Path], None], message: str
) -> None:
    with shortage.own_filesystem(harness, "state") as place:
        (place / "kept").write_text("before")
        harm(place)
        with pytest.raises(OSError, match=message):
            (place / "new").write_text("x")
        assert (place / "kept").read_text() == "before"
    assert list(in_use(harness)) == []
    assert sorted(path.name for path in place.iterdir() if path.stat().st_size) == ["kept"]
    (place / "new").write_text("x")


def test_memory_is_taken_from_one_process(tmp_path: Path) -> None:
    def work() -> None:
        shortage.forbid_memory(16 * shortage.MIB)
        # From the kernel: the heap of a process that has run many tests may have room of its own.
        mmap.mmap(-1, 8 * shortage.MIB)
        with pytest.raises(OSError, match="Cannot allocate memory"):
            mmap.mmap(-1, 64 * shortage.MIB)

    in_a_process(work)
    mmap.mmap(-1, 64 * shortage.MIB)


def test_a_small_machine_is_small_for_one_process(tmp_path: Path) -> None:
    def work() -> None:
        shortage.have_little_memory(tmp_path / "meminfo")
        assert memory().available == 300 * shortage.MIB

    before = memory().total
    in_a_process(work)
    assert memory().total == before


def test_loop_devices_are_gone_for_one_process() -> None:
    def work() -> None:
        shortage.have_no_loop_devices()
        with pytest.raises(BuildError, match="cannot get a loop device here"):
            check_loop_devices()

    in_a_process(work)
    check_loop_devices()

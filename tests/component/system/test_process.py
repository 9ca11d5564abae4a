"""Commands end when they should, together with everything they started."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrofit.system import logged_process, process
from retrofit.system.signals import interruptible

ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}


def shell(script: str) -> list[str]:
    return ["bash", "-c", script]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def pids_in(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()]


class Interrupted(BaseException):
    """What a handler of SIGTERM raises."""


def logged(script: str, log_file: Path, **options: object) -> list[str]:
    lines: list[str] = []
    logged_process.run_logged(
        shell(script),
        log_file=log_file,
        env=ENVIRONMENT,
        on_line=lines.append,
        **{"timeout": 30, **options},  # type: ignore[arg-type]
    )
    return lines


def test_returns_what_a_command_printed() -> None:
    completed = process.run(shell("echo out; echo err >&2"), timeout=10)
    assert (completed.stdout, completed.stderr) == ("out\n", "err\n")


def test_error_has_the_last_line_of_stderr() -> None:
    with pytest.raises(process.CommandError, match="bash failed with exit code 3: the reason") as e:
        process.run(shell("echo noise >&2; echo the reason >&2; exit 3"), timeout=10)
    assert e.value.returncode == 3


def test_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(process.CommandError, match="cannot start no-such-command: not found"):
        process.run(["no-such-command"], timeout=10)


def test_stdin_is_closed_unless_given() -> None:
    assert process.run(["cat"], timeout=10).stdout == ""
    assert process.run(["cat"], timeout=10, stdin=b"given").stdout == "given"


def test_time_limit_ends_the_whole_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(process.CommandError, match=r"did not finish within 2 s") as caught:
        logged(f"sleep 100 & echo $$ $! > {pids}; wait", tmp_path / "log", timeout=2)
    assert caught.value.returncode is None
    assert time.monotonic() - began < 10
    assert not any(is_alive(pid) for pid in pids_in(pids))


def test_time_limit_of_a_short_command_ends_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with pytest.raises(process.CommandError, match=r"did not finish within 2 s"):
        process.run(shell(f"sleep 100 & echo $$ $! > {pids}; wait"), timeout=2)
    assert not any(is_alive(pid) for pid in pids_in(pids))


@pytest.mark.parametrize("where", ["", ">&2"])
def test_an_answer_without_end_is_not_collected(where: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(process.TooMuchOutputError, match="bash printed more than 16 MiB"):
        process.run(shell(f"exec yes {where}"), timeout=60)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown << 10 < 3 * process.MOST_ANSWER


def test_all_of_stdin_is_given_to_whoever_reads_it() -> None:
    given = os.urandom(1 << 20)
    counted = process.run(["sh", "-c", "sleep 0.2; wc -c; echo more >&2"], timeout=10, stdin=given)
    assert (counted.stdout, counted.stderr) == (f"{1 << 20}\n", "more\n")
    assert process.run(["true"], timeout=10, stdin=given).stdout == ""


def test_time_limit_holds_for_what_says_nothing_any_more() -> None:
    with pytest.raises(process.OutOfTimeError, match=r"did not finish within 0\.5 s"):
        process.run(shell("exec >&- 2>&-; sleep 100"), timeout=0.5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_us_stops_the_command_and_lets_it_clean_up(
    tmp_path: Path, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    cleaned = tmp_path / "cleaned"

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    before = signal.signal(number, interrupt)

    def send() -> None:
        wait_for(lambda: pids.exists() and bool(pids.read_text()))
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(Interrupted):
            logged(
                f"trap 'sleep 0.3; touch {cleaned}' EXIT; sleep 100 & echo $$ $! > {pids}; wait",
                tmp_path / "log",
            )
    finally:
        sender.join()
        signal.signal(number, before)
    assert cleaned.exists()
    assert not any(is_alive(pid) for pid in pids_in(pids))


def test_command_that_ignores_term_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TERM_GRACE", 0.5)
    pids = tmp_path / "pids"
    with pytest.raises(process.CommandError, match="did not finish"):
        logged(f"trap '' TERM; echo $$ > {pids}; while :; do sleep 1; done", tmp_path / "log",
               timeout=2)  # fmt: skip
    assert not any(is_alive(pid) for pid in pids_in(pids))


def test_second_interruption_during_the_grace_kills_at_once(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGINT, interrupt)

    def send() -> None:
        wait_for(lambda: pids.exists() and bool(pids.read_text()))
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(Interrupted):
            logged(f"trap '' TERM; echo $$ > {pids}; while :; do sleep 1; done", tmp_path / "log")
    finally:
        sender.join()
        signal.signal(signal.SIGINT, before)
    assert not any(is_alive(pid) for pid in pids_in(pids))


def test_grandchild_that_outlives_its_parent_is_ended(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    logged(f"sleep 100 & echo $! > {pids}; exit 0", tmp_path / "log")
    assert not any(is_alive(pid) for pid in pids_in(pids))


def test_lifeline_ends_with_the_command_asked_to_stop(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    # In a session of its own, where no signal to the group arrives: as sudo may put it.
    with pytest.raises(process.CommandError, match="did not finish"):
        logged(
            f"exec setsid --wait bash -c 'trap \"\" TERM; cat; touch {ended}'",
            tmp_path / "log",
            timeout=1,
            lifeline=True,
        )
    wait_for(ended.exists)


def test_lines_arrive_while_the_command_runs(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    seen: list[str] = []

    def hear(line: str) -> None:
        seen.append(line)
        heard.touch()

    # It ends only after its first line has been heard.
    logged_process.run_logged(
        shell(f"echo first; until [ -e {heard} ]; do sleep 0.05; done; echo second"),
        log_file=tmp_path / "log",
        env=ENVIRONMENT,
        timeout=30,
        on_line=hear,
    )
    assert seen == ["first", "second"]


def test_last_line_without_end_is_seen(tmp_path: Path) -> None:
    assert logged("printf 'a\\nb'", tmp_path / "log") == ["a", "b"]


def test_log_is_appended_to_and_names_the_command(tmp_path: Path) -> None:
    log_file = tmp_path / "log"
    log_file.write_text("before\n")
    assert logged("echo out; echo err >&2", log_file) == ["out", "err"]
    text = log_file.read_text()
    assert text.startswith("before\n$ bash -c")
    assert text.endswith("\nout\nerr\n")


def test_huge_output_passes_through_whole(tmp_path: Path) -> None:
    count = 0

    def counting(_line: str) -> None:
        nonlocal count
        count += 1

    logged_process.run_logged(
        shell("seq 3000000"), log_file=tmp_path / "log", env=ENVIRONMENT, timeout=60,
        on_line=counting,
    )  # fmt: skip
    assert count == 3_000_000


def test_output_that_never_ends_its_line_takes_no_memory(tmp_path: Path) -> None:
    lines = logged("head -c 50000000 /dev/zero", tmp_path / "log")
    assert len(lines) == 1
    assert len(lines[0]) <= logged_process.LONGEST_LINE
    assert (tmp_path / "log").stat().st_size > 50_000_000


@pytest.mark.parametrize("script", ["exec yes", "trap '' TERM; while :; do echo on; done"])
def test_output_without_end_is_stopped_and_cut(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TERM_GRACE", 1)
    log_file = tmp_path / "log"
    log_file.write_text("before\n")
    began = time.monotonic()
    with pytest.raises(process.TooMuchOutputError, match="bash printed more than 1 MiB"):
        logged(script, log_file, most=1 << 20)
    assert time.monotonic() - began < 20
    assert (1 << 20) < log_file.stat().st_size < (1 << 20) + 1000
    assert log_file.read_text().startswith("before\n$ bash -c")


def test_time_limit_holds_for_whoever_prints_faster_than_we_read(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(process.OutOfTimeError, match="did not finish within 1 s"):
        logged_process.run_logged(
            shell("exec yes"), log_file=tmp_path / "log", env=ENVIRONMENT, timeout=1,
            most=1 << 40, on_line=lambda _: time.sleep(0.00001),
        )  # fmt: skip
    assert time.monotonic() - began < 20


def test_what_is_left_behind_prints_no_more_than_that_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "TERM_GRACE", 1)
    logged("(trap '' TERM; sleep 0.5; yes) & exit 0", tmp_path / "log", most=1 << 20)
    assert (tmp_path / "log").stat().st_size < (1 << 20) + 1000


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(process.CommandError, match=r"cannot write .*log: No such file"):
        logged("touch ran", tmp_path / "nowhere" / "log")
    with pytest.raises(process.CommandError, match=r"cannot write /dev/full: No space left"):
        logged("touch ran", Path("/dev/full"))


def test_environment_is_replaced() -> None:
    completed = process.run([sys.executable, "-c", "import os; print(dict(os.environ))"],
                            timeout=20, env={"ONLY": "this"})  # fmt: skip
    assert "'ONLY': 'this'" in completed.stdout
    assert "HOME" not in completed.stdout


def test_background_command_ends_with_the_block(tmp_path: Path) -> None:
    with process.background(shell("sleep 100"), log_file=tmp_path / "log") as child:
        assert is_alive(child.pid)
    assert not is_alive(child.pid)


def test_an_interruption_while_a_command_starts_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self.pid)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt), interruptible():
        process.run(["sleep", "60"], timeout=90)
    (pid,) = started
    assert not is_alive(pid)

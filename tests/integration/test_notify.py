"""Each change of state arrives once at a receiver that fails, stalls and recovers; no run waits."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from retrofit.chronicle import read_chronicle
from retrofit.cli import retrofit
from retrofit.config import NotifySettings, Settings
from retrofit.errors import ConfigError
from retrofit.notify import Outbox, conclude, delivery_job
from retrofit.notify.__main__ import OUT_OF_TIME
from retrofit.notify.delivery import deliver
from scheduler.deliveries import delivering
from tests.integration.receiver import Receiver, receiving
from tests.unit import standings
from tests.unit.test_notify_changes import ended

SECRET = b"correct horse battery staple"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def settings_for(tmp_path: Path, **notify: Any) -> Settings:
    given = {"timeout": 1, "retries": 0, **notify}
    return standings.settings(tmp_path).model_copy(update={"notify": NotifySettings(**given)})


def eventually(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.05)


def spool(settings: Settings, monkeypatch: pytest.MonkeyPatch, *outcomes: str) -> None:
    """Conclude runs without a delivering process: the test delivers itself."""
    with monkeypatch.context() as patch:
        patch.setattr("retrofit.process.detach", lambda *_, **__: None)
        for outcome in outcomes:
            conclude(ended(outcome), settings)


class Clock:
    """A clock that sleeping advances."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


def deliver_now(settings: Settings, clock: Clock | None = None) -> Clock:
    clock = clock or Clock()
    deliver(Outbox(settings.paths.state), settings.notify, sleep=clock.sleep, now=lambda: clock.now)
    return clock


def test_a_run_leaves_it_to_a_process_of_its_own(tmp_path: Path, receiver: Receiver) -> None:
    settings = settings_for(tmp_path, url=receiver.url, retries=5)
    receiver.behave = "stall"
    conclude(ended("failed"), settings)  # returns while nobody has been told
    assert not Outbox(settings.paths.state).is_empty()
    eventually(lambda: len(receiver.requests) >= 1)
    receiver.behave = "take"
    eventually(lambda: Outbox(settings.paths.state).is_empty())
    assert [change["event"] for change in receiver.taken] == ["failed"]


def test_each_change_arrives_once_at_a_receiver_that_fails_stalls_and_recovers(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, clock = settings_for(tmp_path, url=receiver.url), Clock()
    behaviour: tuple[tuple[str | int, str], ...] = (
        (500, "failed"),
        ("stall", "failed"),
        (404, "published"),
        (302, "unchanged"),
        ("take", "failed"),
        ("take", "unchanged"),
    )
    for behave, outcome in behaviour:
        receiver.behave = behave
        spool(settings, monkeypatch, outcome)
        clock.now += timedelta(hours=1)
        deliver_now(settings, clock)
    taken = receiver.taken
    assert [change["event"] for change in taken] == [
        "failed", "recovered", "published", "failed", "recovered",
    ]  # fmt: skip
    assert len({change["id"] for change in taken}) == 5
    assert Outbox(settings.paths.state).is_empty()


def test_repeated_attempts_carry_the_same_idempotency_key(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url, retries=3)
    receiver.behave = 503
    spool(settings, monkeypatch, "failed")
    clock = deliver_now(settings)
    keys = {request["headers"]["Idempotency-Key"] for request in receiver.requests}
    assert len(receiver.requests) == 4
    assert len(keys) == 1
    assert [round(each) for each in clock.slept] == [1, 2, 4]
    ((letter,),) = Outbox(settings.paths.state).letters()
    assert letter.attempts == 4
    assert letter.last_error is not None
    assert "503" in letter.last_error


def test_what_the_webhook_gets_is_signed(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")
    settings = settings_for(tmp_path, url=receiver.url, secret_file=secret)
    spool(settings, monkeypatch, "failed")
    deliver_now(settings)
    (request,) = receiver.requests
    headers = request["headers"]
    stamp = headers["X-Retrofit-Timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    expected = hmac.new(SECRET, stamp.encode() + b"." + request["body"], hashlib.sha256)
    assert headers["X-Retrofit-Signature"] == f"sha256={expected.hexdigest()}"
    assert headers["X-Retrofit-Event"] == json.loads(request["body"])["event"] == "failed"
    assert headers["Content-Type"] == "application/json"


def test_an_unreadable_secret_lets_nothing_out_unsigned(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("\n")
    settings = settings_for(tmp_path, url=receiver.url, secret_file=secret)
    spool(settings, monkeypatch, "failed")
    deliver_now(settings)
    secret.unlink()
    deliver_now(settings)
    assert receiver.requests == []
    assert not Outbox(settings.paths.state).is_empty()


def test_a_redirect_is_no_delivery(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url)
    receiver.behave = 301
    spool(settings, monkeypatch, "failed")
    deliver_now(settings)
    assert len(receiver.requests) == 1
    assert not Outbox(settings.paths.state).is_empty()


def test_the_command_gets_json_and_is_repeated_alone(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    code = (
        "import pathlib, sys; p = pathlib.Path(sys.argv[1]); first = not p.exists();"
        " p.open('a').write(sys.stdin.read()); sys.exit(3 if first else 0)"
    )
    settings = settings_for(
        tmp_path, url=receiver.url, command=(sys.executable, "-c", code, str(out)), timeout=30
    )
    spool(settings, monkeypatch, "failed")
    deliver_now(settings)
    ((letter,),) = Outbox(settings.paths.state).letters()
    assert letter.to == ("command",)
    later = Clock()
    later.now += timedelta(minutes=5)
    deliver_now(settings, later)
    assert Outbox(settings.paths.state).is_empty()
    first, second = out.read_text().splitlines()
    assert first == second
    assert json.loads(first)["event"] == "failed"
    assert len(receiver.taken) == 1


def test_a_command_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_for(tmp_path, command=("sleep", "600"))
    spool(settings, monkeypatch, "failed")
    deliver_now(settings)
    ((letter,),) = Outbox(settings.paths.state).letters()
    assert letter.last_error == "command: sleep did not finish within 1 s"


def test_only_events_that_are_wanted_are_told(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url, events=("recovered",))
    spool(settings, monkeypatch, "failed", "unchanged")
    deliver_now(settings)
    assert [change["event"] for change in receiver.taken] == ["recovered"]


def test_nobody_to_tell_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path)
    spool(settings, monkeypatch, "failed", "unchanged")
    assert Outbox(settings.paths.state).is_empty()
    assert read_chronicle(settings.paths.state, "default").runs == {"failed": 1, "unchanged": 1}


def test_what_cannot_be_delivered_for_days_is_dropped(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url, give_up_after=1)
    receiver.behave = 500
    spool(settings, monkeypatch, "failed")
    clock = Clock()
    deliver_now(settings, clock)
    clock.now += timedelta(hours=2)
    deliver_now(settings, clock)
    assert Outbox(settings.paths.state).is_empty()
    assert len(receiver.requests) == 1


def test_a_clock_that_was_ahead_keeps_nobody_from_being_told(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url)
    receiver.behave = 500
    spool(settings, monkeypatch, "failed")
    clock = Clock()
    clock.now += timedelta(days=1)
    deliver_now(settings, clock)
    receiver.behave = "take"
    deliver_now(settings)
    assert Outbox(settings.paths.state).is_empty()


def test_a_receiver_that_drips_its_answer_is_not_waited_for(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url)
    receiver.behave = "drip"
    spool(settings, monkeypatch, "failed")
    begun = time.monotonic()
    deliver_now(settings)
    assert time.monotonic() - begun < 5
    ((letter,),) = Outbox(settings.paths.state).letters()
    assert letter.last_error is not None
    assert "imeout" in letter.last_error


def test_while_a_receiver_stalls_one_process_waits_to_deliver_what_comes(
    tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_for(tmp_path, url=receiver.url, timeout=60, retries=5)
    receiver.behave = "stall"
    conclude(ended("failed"), settings)
    eventually(lambda: len(receiver.requests) == 1)
    for outcome in ("published", "failed", "published"):
        conclude(ended(outcome), settings)
    eventually(lambda: len(deliverers(settings)) == 2)
    time.sleep(3)  # for those that are too many to come, and to see it
    assert len(deliverers(settings)) == 2
    receiver.behave = "take"
    receiver.woken.set()
    eventually(lambda: Outbox(settings.paths.state).is_empty())
    told = [change["event"] for change in receiver.taken]
    assert told == ["failed", "recovered", "published", "failed", "recovered", "published"]
    eventually(lambda: not deliverers(settings))


UNLIMITED = "import retrofit.notify.__main__ as deliverer; deliverer.SPARE = 0.5; deliverer.main()"


def test_a_process_that_cannot_come_to_deliver_ends(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, command=("true",))
    with Outbox(settings.paths.state).alone():
        waiting = subprocess.run(
            [sys.executable, "-c", UNLIMITED],
            input=json.dumps(delivery_job(settings)).encode(),
            timeout=60,
            check=False,
        )
    assert waiting.returncode == OUT_OF_TIME


def test_a_killed_delivery_loses_nothing(tmp_path: Path, receiver: Receiver) -> None:
    settings = settings_for(tmp_path, url=receiver.url, timeout=60, retries=3)
    receiver.behave = "stall"
    conclude(ended("failed"), settings)
    eventually(lambda: len(receiver.requests) == 1)
    (pid,) = deliverers(settings)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not deliverers(settings))
    receiver.behave = "take"
    conclude(ended("waiting"), settings)  # no change of state: the next run delivers even so
    eventually(lambda: Outbox(settings.paths.state).is_empty())
    assert [change["event"] for change in receiver.taken] == ["failed"]


def deliverers(settings: Settings) -> list[int]:
    """The processes that deliver from this outbox, or wait to."""
    locks = {str(settings.paths.state / name) for name in ("outbox.lock", "outbox.next")}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            names = [str(each.readlink()) for each in (process / "fd").iterdir()]
        except OSError:
            continue
        if locks.intersection(names) and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found


def test_the_worker_goes_on_telling(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url)
    spool(settings, monkeypatch, "failed")
    with delivering(lambda: settings, every=0.1):
        eventually(lambda: Outbox(settings.paths.state).is_empty())
    assert [change["event"] for change in receiver.taken] == ["failed"]
    assert not [each for each in threading.enumerate() if each.name == "deliveries"]


def test_runs_of_several_targets_do_not_wait_for_each_others_letters(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url)
    receiver.behave = 500
    spool(settings, monkeypatch, "failed")
    deliver_now(settings)
    receiver.behave = "take"
    with monkeypatch.context() as patch:
        patch.setattr("retrofit.process.detach", lambda *_, **__: None)
        conclude({**ended("failed"), "target": "other"}, settings)
    deliver_now(settings, Clock())  # the first one is not due yet
    assert {change["target"] for change in receiver.taken} <= {"default", "other"}
    assert "other" in {change["target"] for change in receiver.taken}


def test_a_full_or_missing_disk_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, where a directory is wanted")
    conclude(ended("failed"), settings_for(tmp_path, command=("true",)))


def command_line(tmp_path: Path, *words: str, **notify: Any) -> Result:
    config = tmp_path / "retrofit.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in notify.items()]
    told = [f"[paths]\nstate = {json.dumps(str(tmp_path / 'state'))}\n[notify]", *lines]
    config.write_text("\n".join(told))
    return CliRunner().invoke(retrofit, ["--config", str(config), "notify", *words])


def test_the_command_line_delivers_what_waits_and_shows_the_rest(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool(settings_for(tmp_path, url=receiver.url), monkeypatch, "failed")
    receiver.behave = 500
    for attempts in (1, 2):  # asked by a person, it waits for nothing
        shown = command_line(tmp_path, "-o", "json", url=receiver.url)
        (letter,) = json.loads(shown.stdout)["waiting"]
        assert letter["attempts"] == attempts
        assert "500" in letter["last_error"]
    assert "the receiver answered 500" in command_line(tmp_path, url=receiver.url).stdout
    receiver.behave = "take"
    shown = command_line(tmp_path, "-o", "json", url=receiver.url)
    assert json.loads(shown.stdout) == {"test": None, "waiting": []}
    assert len(receiver.taken) == 1


def test_a_test_is_sent_and_its_failure_told(tmp_path: Path, receiver: Receiver) -> None:
    assert command_line(tmp_path, "--test", url=receiver.url).exit_code == 0
    assert [change["event"] for change in receiver.taken] == ["test"]
    receiver.behave = 403
    refused = command_line(tmp_path, "--test", url=receiver.url)
    assert isinstance(refused.exception, ConfigError)
    assert "the receiver answered 403" in refused.exception.message
    nobody = command_line(tmp_path, "--test")
    assert isinstance(nobody.exception, ConfigError)
    assert command_line(tmp_path).exit_code == 0


@pytest.mark.parametrize("url", ["http://user:word@host/", "ftp://host/", "host", "http://"])
def test_addresses_that_are_none_or_hold_a_password_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected an address|credentials belong"):
        NotifySettings(url=url)


def test_a_receiver_that_is_not_there_is_told_without_its_whole_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as gone:
        url = f"{gone.url}/token"
    settings = settings_for(tmp_path, url=url)
    spool(settings, monkeypatch, "failed")
    deliver_now(settings)
    ((letter,),) = Outbox(settings.paths.state).letters()
    assert letter.last_error is not None
    assert "Connection refused" in letter.last_error
    assert "token" not in letter.last_error

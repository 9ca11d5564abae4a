"""Each change of state arrives once at a receiver that fails, stalls and recovers; no run waits."""

from __future__ import annotations

import hashlib
import hmac
import json
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

from retrofit.cli import retrofit
from retrofit.config import NotifySettings, Settings
from retrofit.errors import ConfigError
from retrofit.notify import Notification, Outbox, record_end_of_run
from retrofit.notify.delivery import deliver
from retrofit.runs.history import read_history
from scheduler.notifications import delivering
from tests.integration.receiver import Receiver, receiving
from tests.unit.notify.test_changes import ended
from tests.unit.status import scenes

SECRET = b"correct horse battery staple"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def settings_for(tmp_path: Path, *names: str, **notify: Any) -> Settings:
    given = {"timeout": 1, "retries": 0, **notify}
    return scenes.settings(tmp_path, *names).model_copy(update={"notify": NotifySettings(**given)})


def eventually(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.05)


def enqueue(settings: Settings, monkeypatch: pytest.MonkeyPatch, *outcomes: str) -> None:
    """Conclude runs that deliver nothing: the test delivers itself."""
    with monkeypatch.context() as patch:
        patch.setattr("retrofit.notify.delivery.deliver_in_time", lambda *_: None)
        for outcome in outcomes:
            record_end_of_run(ended(outcome), settings)


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


def test_a_run_delivers_at_its_end_and_leaves_the_rest_to_others(
    tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_for(tmp_path, url=receiver.url, retries=5)
    record_end_of_run(ended("failed"), settings)
    assert Outbox(settings.paths.state).is_empty()
    receiver.behave = "stall"
    begun = time.monotonic()
    record_end_of_run(ended("published"), settings)
    assert time.monotonic() - begun < settings.notify.timeout + 2
    assert not Outbox(settings.paths.state).is_empty()
    receiver.behave = "take"
    with delivering(lambda: settings, every=0.1):
        eventually(lambda: Outbox(settings.paths.state).is_empty())
    told = [change["event"] for change in receiver.taken]
    assert told == ["failed", "recovered", "published"]


def test_a_receiver_that_stalls_takes_no_time_from_another(
    tmp_path: Path, receiver: Receiver
) -> None:
    out = tmp_path / "out"
    command = ("/bin/sh", "-c", f"cat >> {out}")
    settings = settings_for(tmp_path, url=receiver.url, command=command, timeout=20)
    for behave in ("stall", "drip"):
        receiver.behave = behave
        record_end_of_run(
            ended("failed" if behave == "stall" else "published"), with_timeout(settings, 4)
        )
    told = [json.loads(line)["event"] for line in out.read_text().splitlines()]
    assert told == ["failed", "recovered", "published"]
    assert receiver.taken == []


def with_timeout(settings: Settings, timeout: int) -> Settings:
    notify = settings.notify.model_copy(update={"timeout": timeout})
    return settings.model_copy(update={"notify": notify})


def test_each_change_arrives_once_at_a_receiver_that_fails_stalls_and_recovers(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, clock = settings_for(tmp_path, url=receiver.url), Clock()
    behaviour: tuple[tuple[str | int, str], ...] = (
        (500, "failed"),
        ("stall", "failed"),
        (503, "published"),
        (302, "unchanged"),
        ("take", "failed"),
        ("take", "unchanged"),
    )
    for behave, outcome in behaviour:
        receiver.behave = behave
        enqueue(settings, monkeypatch, outcome)
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
    enqueue(settings, monkeypatch, "failed")
    clock = deliver_now(settings)
    keys = {request["headers"]["Idempotency-Key"] for request in receiver.requests}
    assert len(receiver.requests) == 4
    assert len(keys) == 1
    assert [round(each) for each in clock.slept] == [1, 2, 4]
    (queued,) = Outbox(settings.paths.state).queues()[0].values()
    assert queued.attempts == 4
    assert queued.last_error is not None
    assert "503" in queued.last_error


def test_what_the_webhook_gets_is_signed(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_bytes(SECRET + b"\n")
    settings = settings_for(tmp_path, url=receiver.url, secret_file=secret)
    enqueue(settings, monkeypatch, "failed")
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
    secret.touch(mode=0o600)
    secret.write_text("\n")
    settings = settings_for(tmp_path, url=receiver.url, secret_file=secret)
    enqueue(settings, monkeypatch, "failed")
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
    enqueue(settings, monkeypatch, "failed")
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
    enqueue(settings, monkeypatch, "failed")
    deliver_now(settings)
    (queued,) = Outbox(settings.paths.state).queues()[0].values()
    assert queued.to == ("command",)
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
    enqueue(settings, monkeypatch, "failed")
    deliver_now(settings)
    (queued,) = Outbox(settings.paths.state).queues()[0].values()
    assert queued.last_error == "sleep did not finish within 1 s"


def test_only_events_that_are_wanted_are_told(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url, events=("recovered",))
    enqueue(settings, monkeypatch, "failed", "unchanged")
    deliver_now(settings)
    assert [change["event"] for change in receiver.taken] == ["recovered"]


def test_nobody_to_tell_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path)
    enqueue(settings, monkeypatch, "failed", "unchanged")
    assert Outbox(settings.paths.state).is_empty()
    assert read_history(settings.paths.state, "default").run_counts == {"failed": 1, "unchanged": 1}


def test_what_cannot_be_delivered_for_days_is_dropped(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url, give_up_after=1)
    receiver.behave = 500
    enqueue(settings, monkeypatch, "failed")
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
    enqueue(settings, monkeypatch, "failed")
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
    enqueue(settings, monkeypatch, "failed")
    begun = time.monotonic()
    deliver_now(settings)
    assert time.monotonic() - begun < 5
    (queued,) = Outbox(settings.paths.state).queues()[0].values()
    assert queued.last_error is not None
    assert "imeout" in queued.last_error


def test_while_one_process_delivers_another_leaves_that_receiver_to_it(
    tmp_path: Path, receiver: Receiver
) -> None:
    out = tmp_path / "out"
    command = ("/bin/sh", "-c", f"cat >> {out}")
    settings = settings_for(tmp_path, url=receiver.url, command=command, timeout=10)
    outbox = Outbox(settings.paths.state)
    with outbox.alone("webhook") as ours:
        assert ours
        record_end_of_run(ended("failed"), settings)
        assert receiver.requests == []
    assert [json.loads(line)["event"] for line in out.read_text().splitlines()] == ["failed"]
    record_end_of_run(ended("backoff"), settings)  # no change of state: it delivers even so
    assert [change["event"] for change in receiver.taken] == ["failed"]
    assert outbox.is_empty()


def test_a_killed_delivery_loses_nothing(tmp_path: Path, receiver: Receiver) -> None:
    settings = settings_for(tmp_path, url=receiver.url, timeout=60)
    receiver.behave = "stall"
    config = tmp_path / "retrofit.toml"
    config.write_text(
        f'[paths]\nstate = "{settings.paths.state}"\n'
        f'[notify]\nurl = "{receiver.url}"\ntimeout = 60\n'
    )
    Outbox(settings.paths.state).enqueue("default", notification(), to=("webhook",))
    retrofit_program = Path(sys.executable).with_name("retrofit")
    with subprocess.Popen([retrofit_program, "--config", config, "notify"]) as delivering_process:
        eventually(lambda: len(receiver.requests) == 1)
        delivering_process.kill()
    receiver.behave = "take"
    record_end_of_run(ended("unchanged"), settings)
    assert Outbox(settings.paths.state).is_empty()
    assert [change["event"] for change in receiver.taken] == ["failed"]


def notification() -> Notification:
    return Notification(
        id="host/default/abcd1234-1", event="failed", at=datetime.now(UTC), target="default"
    )


def test_the_worker_goes_on_telling(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, url=receiver.url)
    enqueue(settings, monkeypatch, "failed")
    with delivering(lambda: settings, every=0.1):
        eventually(lambda: Outbox(settings.paths.state).is_empty())
    assert [change["event"] for change in receiver.taken] == ["failed"]
    assert not [each for each in threading.enumerate() if each.name.startswith("notify ")]


def test_runs_of_several_targets_do_not_wait_for_each_others_queues(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, "default", "other", url=receiver.url)
    receiver.behave = 500
    enqueue(settings, monkeypatch, "failed")
    deliver_now(settings)
    receiver.behave = "take"
    with monkeypatch.context() as patch:
        patch.setattr("retrofit.notify.delivery.deliver_in_time", lambda *_: None)
        record_end_of_run(ended("failed", target="other"), settings)
    deliver_now(settings, Clock())  # the first one is not due yet
    assert {change["target"] for change in receiver.taken} <= {"default", "other"}
    assert "other" in {change["target"] for change in receiver.taken}


def test_a_full_or_missing_disk_fails_no_run(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, where a directory is wanted")
    record_end_of_run(ended("failed"), settings_for(tmp_path, command=("true",)))


def command_line(tmp_path: Path, *words: str, **notify: Any) -> Result:
    config = tmp_path / "retrofit.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in notify.items()]
    told = [f"[paths]\nstate = {json.dumps(str(tmp_path / 'state'))}\n[notify]", *lines]
    config.write_text("\n".join(told))
    return CliRunner().invoke(retrofit, ["--config", str(config), "notify", *words])


def test_the_command_line_delivers_what_waits_and_shows_the_rest(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue(settings_for(tmp_path, url=receiver.url), monkeypatch, "failed")
    receiver.behave = 500
    for attempts in (1, 2):  # asked by a person, it waits for nothing
        shown = command_line(tmp_path, "-o", "json", url=receiver.url)
        (queued,) = json.loads(shown.stdout)["queued"]
        assert queued["attempts"] == attempts
        assert "500" in queued["last_error"]
    assert "the receiver answered 500" in command_line(tmp_path, url=receiver.url).stdout
    receiver.behave = "take"
    shown = command_line(tmp_path, "-o", "json", url=receiver.url)
    assert json.loads(shown.stdout) == {"test": None, "queued": []}
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
    with pytest.raises(ValueError, match=r"expected a URL|put credentials|no host"):
        NotifySettings(url=url)


def test_a_receiver_that_is_not_there_is_told_without_its_whole_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as gone:
        url = f"{gone.url}/token"
    settings = settings_for(tmp_path, url=url)
    enqueue(settings, monkeypatch, "failed")
    deliver_now(settings)
    (queued,) = Outbox(settings.paths.state).queues()[0].values()
    assert queued.last_error is not None
    assert "Connection refused" in queued.last_error
    assert "token" not in queued.last_error

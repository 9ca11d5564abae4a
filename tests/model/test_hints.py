"""What an operator is told to type in an emergency works when it is typed, as it was printed.

Each scene is a state that prints commands. Every command that is printed there is typed, in a copy
of that state: none may be refused, and one of them has to lead out.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from retrofit.errors import CloudError
from retrofit.lock.holder import Holder
from retrofit.operations import cancel
from tests.model.desk import Desk
from tests.unit.images import amphora

READING = {"list", "status", "plan", "show", "history", "logs", "audit", "notify", "diff"}
"""Commands that change nothing: what they report may end with another code than 0."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A state: how it comes, which commands show it, what they may end with, how it is over."""

    begin: Callable[[Desk], tuple[tuple[str, ...], ...]]
    codes: frozenset[int]
    over: Callable[[Desk], bool]
    toml: str = ""


def finds_an_image(desk: Desk) -> bool:
    return desk.octavia is not None


def hidden(desk: Desk) -> tuple[tuple[str, ...], ...]:
    desk.published("20260911")
    desk.hide(desk.published("20260912"))
    return ("status",), ("plan",)


def hidden_and_paused(desk: Desk) -> tuple[tuple[str, ...], ...]:
    desk.published("20260911")
    newest = desk.published("20260912")
    desk.type("pause", "--reason", "maintenance", exit_code=0)
    desk.hide(newest)
    return ("status",), ("plan",), ("run-once",), ("repair",)


def rejected_only(desk: Desk) -> tuple[tuple[str, ...], ...]:
    older, _ = desk.published("20260911"), desk.published("20260912")
    desk.type("rollback", "--yes", exit_code=0)
    del desk.world.images[older]
    return ("status",), ("plan",), ("repair",), ("rollback", "--yes")


def rejected_and_a_new_source(desk: Desk) -> tuple[tuple[str, ...], ...]:
    shown = rejected_only(desk)
    desk.release("20260913")
    return shown


def weak_only(desk: Desk) -> tuple[tuple[str, ...], ...]:
    """The only image was verified less than is demanded now."""
    desk.hide(desk.published("20260912"))
    desk.toml = '[verify]\nlevel = "full"\n'
    return ("status",), ("plan",), ("repair",)


def unverified(desk: Desk) -> tuple[tuple[str, ...], ...]:
    """A build fails in verification; the promoted image stays."""
    desk.published("20260911")
    desk.release("20260912")
    desk.failing_check = "agent-answers"
    return ("run-once",), ("status",), ("logs", "last"), ("history",)


def held_back(desk: Desk) -> tuple[tuple[str, ...], ...]:
    """Builds fail: the next run waits."""
    desk.published("20260911")
    desk.release("20260912")
    desk.build_error = "disk-image-create failed"
    desk.type("run-once", exit_code=5)
    desk.build_error = None
    return ("run-once",), ("status",), ("plan",)


def paused(desk: Desk) -> tuple[tuple[str, ...], ...]:
    desk.published("20260911")
    desk.type("pause", "--reason", "maintenance", exit_code=0)
    desk.release("20260912")
    return ("run-once",), ("status",), ("plan",), ("list",)


def nothing_older(desk: Desk) -> tuple[tuple[str, ...], ...]:
    """A rollback finds only rejected images to go back to."""
    rejected_only(desk)
    desk.published("20260913")
    return (("rollback", "--yes"),)


def no_older_at_all(desk: Desk) -> tuple[tuple[str, ...], ...]:
    desk.published("20260911")
    return (("rollback", "--yes"),)


def newer_by_rollback(desk: Desk) -> tuple[tuple[str, ...], ...]:
    newer = (desk.published("20260911"), desk.published("20260912"))[1]
    desk.type("rollback", "--yes", exit_code=0)
    return (("rollback", newer, "--yes"),)


def ambiguous(desk: Desk) -> tuple[tuple[str, ...], ...]:
    """Two ids begin alike, and one does not exist."""
    first = desk.published("20260911")
    image = desk.world.images[first]
    twin = f"{first[:8]}-0000{first[13:]}"
    desk.world.add(
        desk.world.content[first],
        id=twin,
        properties={**image.properties, "retrofit_image_id": twin},
    )
    beginning, unknown = first[:8], "ffffffff"
    return (
        ("show", beginning), ("promote", beginning, "--yes"), ("verify", beginning),
        ("rollback", beginning, "--yes"), ("diff", beginning),
        ("show", unknown), ("promote", unknown, "--yes"), ("verify", unknown),
    )  # fmt: skip


def of_0_1_0(desk: Desk) -> tuple[tuple[str, ...], ...]:
    """0.1.0 left the promoted image, and another installation is in the project."""
    left = desk.world.images[desk.published("20260911")]
    named = ("retrofit_image_id", "retrofit_installation", "retrofit_tag", "retrofit_state_id")
    properties = {key: text for key, text in left.properties.items() if key not in named}
    desk.world.change(left.id, properties=properties)
    other = amphora(1, tag="amphora-other")
    desk.world.add(b"of others", id=other.id, tags=other.tags, properties=other.properties)
    return ("run-once",), ("plan",), ("status",)


def spoiled(desk: Desk) -> tuple[tuple[str, ...], ...]:
    """The store lost the bytes of the image that is to be promoted."""
    older = desk.published("20260911")
    desk.published("20260912")
    desk.world.content[older] = b""
    return ("promote", older, "--yes"), ("rollback", "--yes")


SCENES = {
    "no image, one hidden": Scene(begin=hidden, codes=frozenset({0}), over=finds_an_image),
    "no image, paused": Scene(
        begin=hidden_and_paused,
        codes=frozenset({0}),
        over=finds_an_image,
    ),
    "rejected only": Scene(begin=rejected_only, codes=frozenset({0, 7}), over=finds_an_image),
    "rejected only, and a new source": Scene(
        begin=rejected_and_a_new_source, codes=frozenset({0, 7}), over=finds_an_image
    ),
    "too little verified": Scene(
        begin=weak_only,
        codes=frozenset({0, 7}),
        over=finds_an_image,
        toml='[verify]\nlevel = "offline"\n',
    ),
    "failed verification": Scene(begin=unverified, codes=frozenset({0, 6}), over=finds_an_image),
    "builds held back": Scene(
        begin=held_back,
        codes=frozenset({0, 5}),
        over=lambda desk: "20260912" in str(desk.type("status", "-f", "json").document["promoted"]),
    ),
    "paused": Scene(
        begin=paused,
        codes=frozenset({0}),
        over=lambda desk: desk.type("run-once", "-f", "json").document["outcome"] == "published",
    ),
    "only rejected ones to go back to": Scene(
        begin=nothing_older, codes=frozenset({0, 7}), over=finds_an_image
    ),
    "nothing to go back to": Scene(
        begin=no_older_at_all, codes=frozenset({7}), over=finds_an_image
    ),
    "rollback to a newer one": Scene(
        begin=newer_by_rollback, codes=frozenset({7}), over=finds_an_image
    ),
    "ambiguous ids": Scene(begin=ambiguous, codes=frozenset({2, 7}), over=finds_an_image),
    "images of 0.1.0 beside another installation": Scene(
        begin=of_0_1_0,
        codes=frozenset({0, 2}),
        over=lambda desk: desk.type("run-once").exit_code == 0,
    ),
    "bytes gone": Scene(begin=spoiled, codes=frozenset({0, 7}), over=finds_an_image),
}


@pytest.mark.parametrize("name", SCENES)
def test_every_printed_command_works_and_one_leads_out(name: str, tmp_path: Path) -> None:
    scene = SCENES[name]
    desk = Desk(root=tmp_path / "machine", toml=scene.toml)
    tried, out = [], []
    for words in scene.begin(desk):
        shown, there = desk.tried(shlex.join(("retrofit", *words, "-f", "json")))
        assert shown.exit_code in scene.codes, shown
        for command in shown.commands():
            typed, after = there.tried(command)
            allowed = {0} | (scene.codes if READING & set(command.split()) else set())
            assert typed.exit_code in allowed, (command, typed)
            tried.append(command)
            if scene.over(after):
                out.append(command)
    assert out, tried


@pytest.mark.parametrize("known", [True, False])
def test_cancel_names_the_machine_on_which_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    asked = []

    def holder_elsewhere(url: str, lease: int, name: bytes) -> Holder | None:
        asked.append((url, lease))
        assert name
        if known:
            return Holder(host="controller-2", pid=4711)
        raise CloudError("the lock server does not answer")

    monkeypatch.setattr(cancel, "holder_elsewhere", holder_elsewhere)
    desk = Desk(root=tmp_path / "machine", toml='[lock]\nurl = "redis://127.0.0.1:9"\nlease = 30\n')
    refused = desk.type("cancel", exit_code=2)
    assert asked == [("redis://127.0.0.1:9", 30)]
    assert "no run of target default is going on on this machine" in refused.stderr
    assert ("it goes on as process 4711 on controller-2" in refused.stderr) is known
    if known:
        assert refused.commands() == ["retrofit --target default cancel"]
        assert "end it on controller-2 by" in refused.stderr

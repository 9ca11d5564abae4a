"""Whether a build may mount is tried as the build will do it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrofit.errors import BuildError
from retrofit.produce.preflight import machine

pytestmark = pytest.mark.root

# What AppArmor's profile for unshare comes to: what unshare starts has no capability.
UNSHARE = r"""#!/bin/bash
options=()
while [[ $1 == --* ]]; do options+=("$1"); shift; done
exec REAL "${options[@]}" sh -c '
    LABELLED
    exec setpriv --bounding-set=-all --inh-caps=-all "$@"' sh "$@"
"""


def standing_in(directory: Path, monkeypatch: pytest.MonkeyPatch, *, label: str) -> None:
    """Have `unshare` take the capabilities of what it starts, under an AppArmor profile or none."""
    (directory / "label").write_text(label)
    labelled = f"mount --bind {directory}/label /proc/$$/attr/current" if label else ""
    script = UNSHARE.replace("REAL", machine.shutil.which("unshare") or "")
    (directory / "unshare").write_text(script.replace("LABELLED", labelled))
    (directory / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def test_root_here_may() -> None:
    machine.check_privilege()


def test_the_profile_for_unshare_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standing_in(tmp_path, monkeypatch, label="unshare//unpriv_unshare (enforce)")
    with pytest.raises(BuildError, match=r"\(profile unshare//unpriv_unshare\)") as refused:
        machine.check_privilege()
    assert "AppArmor takes the rights" in str(refused.value)
    assert "apparmor_parser -R /etc/apparmor.d/unshare-userns-restrict" in (
        refused.value.hint or ""
    )


@pytest.mark.parametrize("label", ["", "docker-default (enforce)", "unconfined"])
def test_other_losses_of_the_right_are_not_called_by_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str
) -> None:
    standing_in(tmp_path, monkeypatch, label=label)
    with pytest.raises(BuildError, match="cannot mount filesystems here") as refused:
        machine.check_privilege()
    assert "AppArmor takes" not in str(refused.value)

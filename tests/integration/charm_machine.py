"""A machine for the charm: a directory as its root, and recording doubles of what it calls.

The doubles stand for apt-get, systemctl, the Python that makes virtual environments, and what the
bundle installs; each writes down its words and the part of its environment that matters.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOUBLE = """#!{python} -IS
import json, os, shutil, sys

place, state = {place!r}, {state!r}
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]

def path(*parts):
    return os.path.join(state, *parts)

with open(path("calls.jsonl"), "a") as file:
    seen = ("PYTHONPATH", "LD_LIBRARY_PATH", "RETROFIT_CONFIG", "JUJU_ACTION_NAME",
            "JUJU_CONTEXT_ID", "DEBIAN_FRONTEND")
    environment = {{key: os.environ[key] for key in seen if key in os.environ}}
    file.write(json.dumps([name, words, environment]) + "\\n")
answer = {{}}
if os.path.exists(path("answers", name)):
    with open(path("answers", name)) as file:
        for prefix, given in json.load(file).items():
            if " ".join(words).startswith(prefix):
                answer = given
if name == "python3":
    programs = os.path.join(words[2], "bin")
    os.makedirs(programs)
    for each in ("pip", "retrofit", "retrofit-scheduler", "retrofit-charm-action"):
        shutil.copy(os.path.join(place, "python3"), os.path.join(programs, each))
if name == "pip":
    for word in words:
        assert not word.endswith(".whl") or os.path.isfile(word), word
if name == "systemctl":
    if words[0] == "is-enabled":
        sys.exit(0 if os.path.exists(path("enabled-" + words[-1])) else 1)
    if words[0] == "disable":
        os.unlink(path("enabled-" + words[-1]))
if name == "retrofit-scheduler" and "--enable" in words:
    timer = "retrofit-rollover.timer" if "--rollover" in words else "retrofit.timer"
    open(path("enabled-" + timer), "w").close()
if name == "retrofit" and words[:2] == ["config", "check"]:
    with open(os.environ["RETROFIT_CONFIG"]) as file:
        shutil.copyfile(file.name, path("checked.toml"))
sys.stdout.write(answer.get("stdout", ""))
sys.stderr.write(answer.get("stderr", ""))
sys.exit(answer.get("exit_code", 0))
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A directory for everything: the root, the doubles, what they recorded."""

    directory: Path

    def __post_init__(self) -> None:
        """Put the doubles in place."""
        for path in (self.root / "etc/ssl/certs", self.programs, self.directory / "answers"):
            path.mkdir(parents=True)
        (self.root / "etc/ssl/certs/ca-certificates.crt").write_text("-- the machine's own --\n")
        for name in ("apt-get", "systemctl", "python3"):
            double = self.programs / name
            text = DOUBLE.format(
                python=sys.executable, place=str(self.programs), state=str(self.directory)
            )
            double.write_text(text)
            double.chmod(0o755)

    @property
    def root(self) -> Path:
        """What is / to the charm."""
        return self.directory / "root"

    @property
    def programs(self) -> Path:
        """What is to be first on PATH."""
        return self.directory / "programs"

    @property
    def scheduled(self) -> bool:
        """Say whether the timer of runs is enabled."""
        return (self.directory / "enabled-retrofit.timer").exists()

    @property
    def rolls_over(self) -> bool:
        """Say whether the timer of rollovers is enabled."""
        return (self.directory / "enabled-retrofit-rollover.timer").exists()

    def answer(self, program: str, words: str, **given: Any) -> None:
        """Have a program answer with stdout, stderr, exit_code to words that begin so."""
        file = self.directory / "answers" / program
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**known, words: given}))

    def stands(self, *documents: Mapping[str, Any], exit_code: int = 0) -> None:
        """Have `retrofit status` say this."""
        said = documents[0] if len(documents) == 1 else {"targets": list(documents)}
        self.answer(
            "retrofit", "--output json status", stdout=json.dumps(said), exit_code=exit_code
        )

    def calls(self, program: str | None = None) -> list[str]:
        """Return what was called, a line each; of one program only its words."""
        return [
            " ".join(words) if program else " ".join([name, *words])
            for name, words, _ in self._recorded()
            if program in {None, name}
        ]

    def environments(self, program: str) -> list[dict[str, str]]:
        """Return what each call of a program saw of its environment."""
        return [environment for name, _, environment in self._recorded() if name == program]

    def forget(self) -> None:
        """Forget the calls so far."""
        (self.directory / "calls.jsonl").unlink(missing_ok=True)

    def bundle(self, name: str = "one", *, without: str = "") -> Path:
        """Make a resource as charm/make-bundle.sh does, with wheels that nobody reads."""
        file = self.directory / f"{name}.tar.gz"
        if file.exists():  # the same bytes, as Juju keeps them
            return file
        members = {
            "requirements.txt": f"# {name}\n",
            "wheels/octavia_retrofit-0.1.0-py3-none-any.whl": name,
            "wheels/click-8.1-py3-none-any.whl": "",
        }
        with tarfile.open(file, "w:gz") as archive:
            for path, text in members.items():
                if without and without in path:
                    continue
                info = tarfile.TarInfo(path)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))
        return file

    def _recorded(self) -> list[tuple[str, list[str], dict[str, str]]]:
        file = self.directory / "calls.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

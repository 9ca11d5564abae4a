"""What completes retrofit's commands, as a shell asks for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from retrofit.cli import retrofit
from tests.unit.runs.test_directory import finished

BIN = Path(sys.executable).parent
ASK = """
source {script}
COMP_WORDS=({words})
COMP_CWORD={last}
$(complete -p retrofit | sed -E 's/.* -F ([^ ]+) .*/\\1/') retrofit
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "retrofit"
    path.write_text(script("bash"))
    return path


def script(shell: str) -> str:
    printed = CliRunner().invoke(retrofit, ["completion", shell])
    assert printed.exit_code == 0
    return printed.stdout


def completed(script: Path, *words: str, config: Path | None = None) -> list[str]:
    """Complete the last word as bash would, by the function that the script registers."""
    ask = ASK.format(
        script=script,
        words=" ".join(f"'{word}'" for word in ("retrofit", *words)),
        last=len(words),
    )
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    if config is not None:
        environment["RETROFIT_CONFIG"] = str(config)
    answer = subprocess.run(
        ["bash", "--norc", "-c", ask],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    assert answer.stderr == ""
    return answer.stdout.split()


def test_bash_completes_commands_and_their_options(bash_script: Path) -> None:
    assert completed(bash_script, "ro") == ["rollback", "rollover"]
    assert completed(bash_script, "retire", "--dr") == ["--dry-run"]
    assert completed(bash_script, "-o", "ya") == ["yaml"]


def test_bash_completes_the_runs_whose_logs_are_kept(bash_script: Path, tmp_path: Path) -> None:
    config = tmp_path / "retrofit.toml"
    names = ("state", "cache", "work", "logs")
    lines = ["[paths]", *(f'{name} = "{tmp_path / name}"' for name in names)]
    config.write_text("\n".join(lines))
    runs = [finished(tmp_path / "logs", number, "failed").run_id for number in (1, 2)]
    assert completed(bash_script, "logs", "2026", config=config) == runs[::-1]
    assert completed(bash_script, "logs", "la", config=config) == ["last"]
    config.write_text("this is no configuration")
    assert completed(bash_script, "logs", "2026", config=config) == []


ZSH = """
compdef() {{ :; }}
_describe() {{
    local name
    for name in "$@"; do
        [[ $name == completions* || $name == unsorted ]] && print -l -- ${{(P)name}}
    done
}}
compadd() {{ print -l -- ${{completions[@]}} ${{completions_with_descriptions[@]}}; }}
_path_files() {{ :; }}
words=({words})
CURRENT={current}
source {script}
_retrofit_completion
"""


def completed_by(shell: str, tmp_path: Path, *words: str, config: Path | None = None) -> list[str]:
    """Complete the last word as zsh or fish would, by the script that it sources."""
    path = tmp_path / f"retrofit.{shell}"
    path.write_text(script(shell))
    line = " ".join(("retrofit", *words))
    ask = {
        "fish": f"source {path}; complete -C '{line}'",
        "zsh": ZSH.format(script=path, words=line, current=len(words) + 1),
    }[shell]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    if config is not None:
        environment["RETROFIT_CONFIG"] = str(config)
    flags = ["--no-config"] if shell == "fish" else ["-f"]
    answer = subprocess.run(
        [shell, *flags, "-c", ask],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    return [re.split(r"[\t:]", each)[0] for each in answer.stdout.split("\n") if each]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_complete_as_well(shell: str, tmp_path: Path) -> None:
    config = tmp_path / "retrofit.toml"
    names = ("state", "cache", "work", "logs")
    paths = ["[paths]", *(f'{name} = "{tmp_path / name}"' for name in names)]
    config.write_text("\n".join([*paths, "[target.noble]", "[target.jammy.publish]", 'tag = "j"']))
    assert "rollback" in completed_by(shell, tmp_path, "ro")
    assert "noble" in completed_by(shell, tmp_path, "status", "--target", "no", config=config)
    run = finished(tmp_path / "logs", 1, "failed").run_id
    assert run in completed_by(shell, tmp_path, "logs", "2026", config=config)
    files = completed_by(shell, tmp_path, "logs", run, "--file", "re", config=config)
    assert "report.json" in files


def test_bash_completes_targets_and_formats(bash_script: Path, tmp_path: Path) -> None:
    config = tmp_path / "retrofit.toml"
    config.write_text("[target.noble]\n[target.jammy.publish]\ntag = 'j'\n")
    asked = ("status", "--target", "no")
    assert completed(bash_script, *asked, config=config) == ["noble"]
    assert completed(bash_script, "--config", str(config), *asked) == ["noble"]
    assert completed(bash_script, "list", "-f", "va") == ["value"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script_that_names_the_program(shell: str) -> None:
    text = script(shell)
    assert f"_RETROFIT_COMPLETE={shell}_complete" in text
    program = shutil.which(shell)
    if program is not None:
        checked = subprocess.run([program, "-n"], input=text, text=True, check=False, timeout=60)
        assert checked.returncode == 0


def test_another_shell_is_refused() -> None:
    refused = CliRunner().invoke(retrofit, ["completion", "tcsh"])
    assert refused.exit_code == 2
    assert "tcsh" in refused.output

"""The command line as an operator meets it: a message, a way out, an exit code, no traceback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.answers import answer

RETROFIT = Path(sys.executable).with_name("retrofit")


@pytest.fixture
def clouds(devcloud: Any, tmp_path: Path) -> Callable[..., Path]:
    """Write a clouds.yaml that is the development cloud's but for one thing."""

    def write(**changes: str) -> Path:
        document = yaml.safe_load(Path(devcloud.clouds_yaml).read_text())
        cloud = document["clouds"][devcloud.cloud]
        for key, value in changes.items():
            (cloud["auth"] if key in cloud["auth"] else cloud)[key] = value
        path = tmp_path / "clouds.yaml"
        path.write_text(yaml.safe_dump({"clouds": {"ours": cloud}}))
        return path

    return write


@pytest.fixture
def retrofit(tmp_path: Path, clean_glance: None) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(
        *words: str | Path, clouds_yaml: Path | None = None, toml: str = ""
    ) -> subprocess.CompletedProcess[str]:
        lines = [toml]
        if clouds_yaml is not None:
            lines += ["[cloud]", 'name = "ours"', f'clouds_yaml = "{clouds_yaml}"']
        lines += ["[paths]"]
        lines += [f'{key} = "{tmp_path / key}"' for key in ("state", "cache", "work", "logs")]
        config = tmp_path / "retrofit.toml"
        config.write_text("\n".join(lines))
        finished = subprocess.run(
            [RETROFIT, "--config", config, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert "Traceback" not in finished.stderr + finished.stdout
        return finished

    return run


def refusal(finished: subprocess.CompletedProcess[str], exit_code: int) -> str:
    assert finished.returncode == exit_code, finished.stderr
    assert "hint: " in finished.stderr
    return finished.stderr


@pytest.mark.parametrize("command", ["plan", "status", "list"])
def test_wrong_password(retrofit: Any, clouds: Any, command: str) -> None:
    said = refusal(retrofit(command, clouds_yaml=clouds(password="wrong")), 3)
    assert "Keystone refuses the credentials" in said
    assert "wrong" not in said.split("error:", 1)[1]


def test_keystone_out_of_reach(retrofit: Any, clouds: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v3"
        said = refusal(retrofit("plan", clouds_yaml=clouds(auth_url=url)), 3)
    assert url.removesuffix("/v3") in said


def test_region_without_an_image_service(retrofit: Any, clouds: Any) -> None:
    said = refusal(retrofit("plan", clouds_yaml=clouds(region_name="Elsewhere")), 3)
    assert "no image service in this region" in said
    assert "Elsewhere" in said


def test_unknown_cloud(retrofit: Any, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text("clouds: {}\n")
    said = refusal(retrofit("plan", clouds_yaml=tmp_path / "none.yaml"), 2)
    assert "Cloud ours was not found" in said


def test_no_source_image_says_what_was_looked_for(retrofit: Any, clouds: Any) -> None:
    finished = retrofit("run-once", "-o", "json", clouds_yaml=clouds())
    assert finished.returncode == 4
    report = answer(finished.stdout)
    assert (report["outcome"], report["error"]["code"]) == ("failed", "source")
    assert "looked for series noble, jammy" in report["error"]["message"]
    assert report["error"]["hint"]


def test_stdout_holds_the_document_and_nothing_else(retrofit: Any, clouds: Any) -> None:
    for command in ("status", "list"):
        finished = retrofit(command, "-o", "json", clouds_yaml=clouds())
        assert finished.returncode == 0
        json.loads(finished.stdout)
    for line in retrofit("run-once", clouds_yaml=clouds()).stderr.splitlines():
        assert json.loads(line)["event"]


def test_unknown_setting(retrofit: Any) -> None:
    said = refusal(retrofit("plan", toml='[source]\nserie = ["noble"]\n'), 2)
    assert "source.serie: unknown setting; did you mean 'series'?" in said


def test_unknown_target(retrofit: Any) -> None:
    said = refusal(retrofit("plan", "--target", "nobel"), 2)
    assert "there is no target nobel" in said


def test_unknown_command_and_option(retrofit: Any) -> None:
    assert retrofit("runonce").returncode == 2
    assert retrofit("plan", "--frobnicate").returncode == 2


def test_build_never_overwrites(retrofit: Any, tmp_path: Path) -> None:
    source, output = tmp_path / "in.img", tmp_path / "out.qcow2"
    source.write_bytes(b"x" * 4096)
    output.write_text("precious")
    said = refusal(retrofit("build", "--source", source, "--output", output), 2)
    assert f"{output} exists" in said
    assert output.read_text() == "precious"


def test_build_refuses_what_is_no_disk_image(retrofit: Any, tmp_path: Path) -> None:
    source, output = tmp_path / "in.img", tmp_path / "out.qcow2"
    source.write_text("no disk at all\n" * 1000)
    refusal(retrofit("build", "--source", source, "--output", output), 4)
    assert not output.exists()
    assert not list((tmp_path / "work" / "files").iterdir())


def test_build_refuses_a_backing_file(retrofit: Any, tmp_path: Path) -> None:
    base, overlay = tmp_path / "base.qcow2", tmp_path / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "8M"], check=True)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay], check=True
    )
    finished = retrofit("build", "--source", overlay, "--output", tmp_path / "out.qcow2")
    assert "backing" in refusal(finished, 4)


def test_verify_wants_a_file_or_an_id(retrofit: Any) -> None:
    assert "neither a file nor the id" in refusal(retrofit("verify", "nothing-like-it"), 2)


def test_verify_fetches_an_image_by_its_id(
    retrofit: Any, clouds: Any, devcloud: Any, tiny_image: Any, tmp_path: Path
) -> None:
    image_id = devcloud.plant(tiny_image(tmp_path / "empty.qcow2"))
    toml = '[verify]\nlevel = "offline"\n'
    finished = retrofit("verify", image_id, "-o", "json", clouds_yaml=clouds(), toml=toml)
    assert finished.returncode == 6
    verdict = json.loads(finished.stdout)
    assert not verdict["passed"]
    made = [check["name"] for check in verdict["checks"] if check["outcome"] != "skipped"]
    assert made == ["filesystems"]
    assert (Path(verdict["log_dir"]) / "checks.json").exists()
    assert not list((tmp_path / "work" / "files").iterdir())


def test_verify_says_that_there_is_no_such_image(retrofit: Any, clouds: Any) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    said = refusal(retrofit("verify", unknown, clouds_yaml=clouds()), 2)
    assert f"there is no image {unknown}" in said


def test_config_show_is_the_whole_configuration(retrofit: Any) -> None:
    finished = retrofit("config", "show", "-o", "json", toml="[publish]\nkeep = 7\n")
    shown = json.loads(finished.stdout)
    assert shown["targets"][0]["publish"]["keep"] == 7
    assert shown["targets"][0]["verify"]["level"] == "full"

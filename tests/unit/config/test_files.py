"""Files that root will run or believe are absolute, and nobody else's to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.build import recipe
from retrofit.build.recipe import recipe_for
from retrofit.config import BuildSettings
from retrofit.config.file import parse
from retrofit.errors import ConfigError

PATHS = ["paths.state", "paths.work", "metrics.textfile", "octavia.config_file",
         "octavia.client_ca", "octavia.client_cert", "cloud.clouds_yaml", "mirror.keyring",
         "mirror.ca_bundle", "build.ca_bundle", "build.apt_sources", "build.agent_constraints",
         "notify.ca_bundle"]  # fmt: skip
BELIEVED = [name for name in PATHS if name.startswith(("mirror", "build", "notify"))]


def refused(name: str, value: str, more: str = "") -> str:
    section, key = name.split(".")
    with pytest.raises(ConfigError) as caught:
        parse(f"[{section}]\n{key} = {value}\n{more}".encode(), None)
    return caught.value.message


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("state", "expected an absolute path; from here it is"),
        ("./a/../b.prom", "expected an absolute path"),
        ("~/work.prom", "~ is not expanded"),
        ("~root/work", "~ is not expanded"),
        ("", "expected a path"),
        (" /srv/x", "expected an absolute path"),
        ("/srv/a\\nb", "control characters"),
    ],
)
def test_a_path_is_the_same_file_for_everybody(name: str, path: str, said: str) -> None:
    assert f"{name}: " in refused(name, f'"{path}"')
    assert said in refused(name, f'"{path}"')


@pytest.mark.parametrize("name", ["paths.state", "paths.work", "paths.cache", "paths.logs"])
@pytest.mark.parametrize("odd", [" ", "#", "?", ",", ":", ";", "'", "$", "*", "&", "("])
def test_a_directory_that_some_program_would_not_quote_is_refused(name: str, odd: str) -> None:
    message = refused(name, f'"/srv/big{odd}disk"')
    assert f"{name}: has {odd!r}" in message or f'{name}: has "\'"' in message


def test_letters_of_any_language_are_fine() -> None:
    parse('[paths]\nwork = "/srv/größe_1.0@x"\n'.encode(), None)


@pytest.mark.parametrize("odd", [" ", "#", ":", ","])
def test_an_installation_in_such_a_directory_does_not_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    monkeypatch.setattr(recipe, "own_elements", lambda: tmp_path / f"a{odd}b" / "elements")
    with pytest.raises(ConfigError, match="cannot build from where it is installed") as caught:
        recipe_for(BuildSettings())
    assert "/opt/retrofit" in str(caught.value.hint)


@pytest.mark.parametrize("name", BELIEVED)
def test_a_file_that_everybody_may_write_to_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_text("x\n")
    path.chmod(0o666)
    message = refused(name, f'"{path}"', '[notify]\nurl = "http://r.test/"\n' * (name < "notify"))
    assert f"{name}: {path} is not trusted: everybody may write to it" in message
    assert f"chown root:root {path}; chmod go-w {path}" in message


def test_so_is_one_in_a_directory_of_everybody(tmp_path: Path) -> None:
    path = tmp_path / "shared" / "key.gpg"
    path.parent.mkdir()
    path.write_text("x\n")
    path.parent.chmod(0o777)
    assert f"directory {path.parent} on its path" in refused("mirror.keyring", f'"{path}"')


@pytest.mark.parametrize("culprit", ["", "mine", "mine/post-install.d", "mine/post-install.d/50-x"])
def test_elements_are_guarded_to_the_last_script(tmp_path: Path, culprit: str) -> None:
    elements = tmp_path / "elements"
    script = elements / "mine" / "post-install.d" / "50-x"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/bash\n")
    (elements / "dangling").symlink_to("nowhere")
    text = f'["{elements}"]'
    parse(f"[build]\nelement_paths = {text}\n".encode(), None)
    (elements / culprit).chmod(0o777)
    assert "everybody may write to it" in refused("build.element_paths", text)


def test_a_link_out_of_an_element_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("#!/bin/bash\n")
    outside.chmod(0o666)
    (tmp_path / "elements" / "mine").mkdir(parents=True)
    (tmp_path / "elements" / "mine" / "50-x").symlink_to(outside)
    assert "everybody may write to it" in refused("build.element_paths", f'["{tmp_path}/elements"]')


def test_a_command_is_guarded_and_its_arguments_are_its_own(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o777)
    assert "is not trusted" in refused("notify.command", f'["{hook}"]')
    assert "absolute path" in refused("notify.command", '["./hook"]')
    assert "is not a file" in refused("notify.command", '["/nowhere/hook"]')
    hook.chmod(0o755)
    for command in (f'["{hook}", "--x=1"]', r'["sh", "-c", "cat > /dev/null\n"]'):
        parse(f"[notify]\ncommand = {command}\n".encode(), None)


def test_a_secret_that_everybody_may_read_is_none(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x\n")
    url = 'url = "http://r.test/"\n'
    secret.chmod(0o644)
    message = refused("notify.secret_file", f'"{secret}"', url)
    assert f"{secret} is no secret: everybody may read it" in message
    assert f"chmod go-rwx {secret}" in message
    secret.chmod(0o600)
    parse(f'[notify]\nsecret_file = "{secret}"\n{url}'.encode(), None)

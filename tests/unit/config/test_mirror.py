"""What `[mirror]` and `[source]` may say, apart and together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrofit.config import Target
from retrofit.config.file import load
from retrofit.errors import ConfigError


@pytest.fixture(autouse=True)
def no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("RETROFIT_")]:
        monkeypatch.delenv(variable)


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    path = tmp_path / "keyring.gpg"
    path.write_bytes(b"keys")
    return path


def read(tmp_path: Path, text: str) -> Target:
    path = tmp_path / "retrofit.toml"
    path.write_text(text)
    return load(path).targets[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[source]\norigin = "simplestreams"', "mirror.url: source.origin is simplestreams"),
        ('[source]\ntrust = "signed"', "mirror.url: source.trust is signed"),
        (
            '[mirror]\nurl = "file:///srv"\nallow_unsigned = true\n[source]\ntrust = "signed"',
            "mirror.keyring: source.trust is signed",
        ),
        ('[mirror]\nurl = "https://m.example.test/"', "mirror.keyring: not set"),
        (
            '[mirror]\nurl = "file:///srv"\nallow_unsigned = true\n'
            '[source]\norigin = "simplestreams"\nimage = "an-id"',
            "source.image: is the ID of an image in Glance",
        ),
        ('[mirror]\nurl = "ftp://m.example.test/"', "mirror.url: expected a URL that"),
        ('[mirror]\nurl = "https:///no-host"', "mirror.url: the URL has no host"),
        ('[mirror]\nurl = "file://host/srv"', "mirror.url: expected file:// and an absolute path"),
        ('[mirror]\nurl = "https://me:secret@m.example.test/"', "mirror.url: put credentials"),
        ('[mirror]\nurl = "https://m.example.test/?a=b"', "mirror.url: expected a URL without"),
        ('[mirror]\nproxy = "socks://p.example.test"', "mirror.proxy: expected a URL that"),
        ('[mirror]\nproxy = "http://me:secret@p.example.test"', "mirror.proxy: put credentials"),
        ('[mirror]\nkeyring = "/nonexistent.gpg"', "mirror.keyring: /nonexistent.gpg is not a"),
        ('[target.one.source]\norigin = "simplestreams"', "target.one.mirror.url: source.origin"),
    ],
)
def test_names_the_key_of_what_cannot_be_meant(
    tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrofit.config.mirror.UBUNTU_KEYRING", tmp_path / "none.gpg")
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert f"  {said}" in caught.value.message


def test_a_signed_mirror_is_the_source_when_so_configured(tmp_path: Path, keyring: Path) -> None:
    text = f'[mirror]\nurl = "https://m.example.test/"\nkeyring = "{keyring}"\n'
    target = read(tmp_path, text + '[source]\norigin = "simplestreams"\ntrust = "signed"')
    assert (target.source.origin, target.mirror.effective_keyring) == ("simplestreams", keyring)


def test_ubuntus_keyring_is_used_where_the_system_has_it(
    tmp_path: Path, keyring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrofit.config.mirror.UBUNTU_KEYRING", keyring)
    target = read(tmp_path, '[mirror]\nurl = "https://m.example.test/"')
    assert target.mirror.effective_keyring == keyring

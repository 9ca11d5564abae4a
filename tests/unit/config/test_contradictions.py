"""Names that two targets would share: each image can belong to one target only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrofit.config.file import load
from retrofit.errors import ConfigError


@pytest.fixture(autouse=True)
def no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("RETROFIT_")]:
        monkeypatch.delenv(variable)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "retrofit.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[target.a]\nformerly = ["x"]\n[target.b]\nformerly = ["x"]\npublish.tag = "b"\n',
            "target.b.formerly: 'x' is in the list of target a too",
        ),
        (
            '[target.a]\nformerly = ["b"]\n[target.b.publish]\ntag = "b"\n',
            "target.a.formerly: 'b' is a present target",
        ),
        ('[target.a]\nformerly = ["a"]\n', "target.a.formerly: 'a' is a present target"),
        (
            '[publish]\ntag = "x"\nformer_tags = ["x"]\n',
            "former_tags: 'x' is the present tag of target default",
        ),
        (
            '[target.a.publish]\ntag = "a"\n[target.b.publish]\ntag = "b"\nformer_tags = ["A"]\n',
            "former_tags: 'A' is the present tag of target a",  # databases ignore the case
        ),
        (
            '[target.a.publish]\ntag = "a"\nformer_tags = ["x"]\n'
            '[target.b.publish]\ntag = "b"\nformer_tags = ["x"]\n',
            "target.b.publish.former_tags: 'x' is in the list of target a too",
        ),
        ('[publish]\nformer_tags = ["x#y"]\n', "publish.former_tags"),
        ('[target.a]\nformerly = ["A b"]\n', "target.a.formerly"),
    ],
)
def test_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert message in caught.value.message


def test_targets_of_two_regions_may_have_one_former_name(tmp_path: Path) -> None:
    """One target became two, one a region."""
    text = (
        '[target.a]\nformerly = ["default"]\ncloud.region = "one"\n'
        '[target.b]\nformerly = ["default"]\ncloud.region = "two"\n'
    )
    settings = load(written(tmp_path, text))
    assert [target.formerly for target in settings.targets] == [("default",), ("default",)]


def test_the_way_from_one_target_to_several(tmp_path: Path) -> None:
    text = (
        '[target.noble]\nformerly = ["default"]\n'
        '[target.noble.publish]\ntag = "v2"\nformer_tags = ["octavia-amphora"]\n'
        '[target.jammy.publish]\ntag = "jammy"\n'
    )
    noble, jammy = load(written(tmp_path, text)).targets
    assert (noble.formerly, noble.publish.former_tags) == (("default",), ("octavia-amphora",))
    assert (jammy.formerly, jammy.publish.former_tags) == ((), ())

from __future__ import annotations

from pathlib import Path

import pytest

from retrofit.config.file import load
from retrofit.errors import ConfigError


@pytest.fixture(autouse=True)
def no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for variable in [name for name in os.environ if name.startswith("RETROFIT_")]:
        monkeypatch.delenv(variable)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "retrofit.toml"
    path.write_text(text)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value.message


def test_defaults_make_one_target(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ""))
    assert [target.name for target in settings.targets] == ["default"]
    assert settings.targets[0].publish.tag == "octavia-amphora"


def test_target_tables_override_the_sections_beside_them(tmp_path: Path) -> None:
    settings = load(
        written(
            tmp_path,
            """
            [source]
            series = ["noble"]
            owners = ["a"]
            [target.one]
            [target.two.source]
            series = ["jammy"]
            [target.two.publish]
            tag = "octavia-amphora-jammy"
            """,
        )
    )
    one, two = settings.targets
    assert (one.name, one.source.series, one.source.owners) == ("one", ("noble",), ("a",))
    assert (two.name, two.source.series, two.source.owners) == ("two", ("jammy",), ("a",))


def test_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETROFIT_CLOUD__NAME", "from-env")
    monkeypatch.setenv("RETROFIT_PUBLISH__KEEP", "5")
    settings = load(written(tmp_path, '[cloud]\nname = "from-file"\nregion = "r"\n'))
    target = settings.targets[0]
    assert (target.cloud.name, target.cloud.region) == ("from-env", "r")
    assert target.publish.keep == 5


def test_names_every_problem_with_its_key_at_once(tmp_path: Path) -> None:
    message = refused(
        written(
            tmp_path,
            """
            [cloud]
            nam = "x"
            [source]
            series = ["noble", "warty"]
            [publish]
            keep = 0
            [build]
            agent = "git"
            ca_bundle = "/nowhere/ca.pem"
            """,
        )
    )
    assert "cloud.nam: unknown setting; did you mean 'name'?" in message
    assert "source.series.1: unknown series 'warty'" in message
    assert "publish.keep: " in message
    assert "build.agent: Input should be 'distro' or 'pypi' (got 'git')" in message
    assert "build.ca_bundle: /nowhere/ca.pem is not a file" in message


def test_names_the_target_whose_setting_is_wrong(tmp_path: Path) -> None:
    message = refused(written(tmp_path, "[target.two.publish]\nkeeep = 2\n"))
    assert "target.two.publish.keeep: unknown setting; did you mean 'keep'?" in message


def test_problems_of_sections_hide_none_of_targets(tmp_path: Path) -> None:
    message = refused(
        written(
            tmp_path,
            """
            [publish]
            keep = 0
            [source]
            origin = "simplestreams"
            [target.one.octavia]
            ask = "never"
            [target.two.publish]
            keeep = 2
            """,
        )
    )
    assert "publish.keep: " in message
    assert "target.one.octavia.ask: renamed to octavia.query in 0.2.0" in message
    assert "target.two.publish.keeep: unknown setting; did you mean 'keep'?" in message


def test_refuses_a_variable_of_an_unknown_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETROFIT_CLOUDS__NAME", "x")
    message = refused(written(tmp_path, ""))
    assert "RETROFIT_CLOUDS__NAME: unknown section 'clouds'; did you mean 'cloud'?" in message


def test_says_where_toml_is_broken(tmp_path: Path) -> None:
    assert "is not valid TOML" in refused(written(tmp_path, "[cloud\n"))


def test_says_that_the_file_is_missing(tmp_path: Path) -> None:
    assert "cannot read" in refused(tmp_path / "absent.toml")


@pytest.mark.parametrize("name", ["PATH", "DIB_STOCK_UPGRADE", "ELEMENTS_PATH", "lower", "A B"])
def test_refuses_variables_that_are_not_the_operators_to_set(tmp_path: Path, name: str) -> None:
    assert name in refused(written(tmp_path, f'[build.environment]\n"{name}" = "x"\n'))


def test_takes_variables_for_further_elements(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[build.environment]\nDIB_FOO = "x"\n'))
    assert settings.targets[0].build.environment == {"DIB_FOO": "x"}


@pytest.mark.parametrize("name", ["content_id", "retrofit_recipe", "visibility", "os_distro"])
def test_refuses_image_properties_that_others_depend_on(tmp_path: Path, name: str) -> None:
    assert name in refused(written(tmp_path, f'[publish.properties]\n{name} = "x"\n'))


def test_takes_image_properties_of_the_operators_own(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[publish.properties]\nhw_rng_model = "virtio"\n'))
    assert settings.targets[0].publish.properties == {"hw_rng_model": "virtio"}


@pytest.mark.parametrize("apart", ["", "[target.two.cloud]\nregion = 'two'\n"])
def test_two_targets_that_octavia_cannot_tell_apart_are_refused(tmp_path: Path, apart: str) -> None:
    path = written(tmp_path, f"[target.one]\n[target.two.source]\nseries = ['jammy']\n{apart}")
    if apart:
        assert len(load(path).targets) == 2
        return
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert "target.two.publish.tag: 'octavia-amphora' is the tag of target one" in (
        refused.value.message
    )


def test_a_word_for_a_list_and_a_name_that_is_none_are_explained(tmp_path: Path) -> None:
    said = refused(written(tmp_path, '[source]\nseries = "noble"\n[target."No such!"]\n'))
    assert """source.series: a list is expected, such as ["noble"] (got 'noble')""" in said
    assert "target.No such!: a name has at most 63 of a-z, 0-9" in said
    assert "valid tuple" not in said
    assert "pattern" not in said

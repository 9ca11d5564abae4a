"""Pure: the charm's options as retrofit's settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from keystone import CLOUD

CALENDAR = {"hourly": "hourly", "daily": "daily", "weekly": "weekly"}
"""Option frequency -> OnCalendar= of the timer."""
HEALTHY_WITHIN = {"hourly": 6, "daily": 50, "weekly": 8 * 24}
"""Option frequency -> hours within which a run should have succeeded: one may fail."""
NEVER = 100 * 365 * 24
"""Hours, where no timer runs: what was not to be run is not late."""


class OptionError(Exception):
    """Options of the charm that cannot be used; the message names the option."""


def calendar(options: Mapping[str, Any]) -> str:
    """Return how often the timer runs. Raises OptionError."""
    frequency = options["frequency"]
    if frequency not in CALENDAR:
        raise OptionError(f"option frequency is {frequency!r}, expected {', '.join(CALENDAR)}")
    return CALENDAR[frequency]


def settings(
    options: Mapping[str, Any],
    *,
    clouds_yaml: str,
    scheduled: bool,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """Return the document of retrofit.toml. Raises OptionError for what cannot be meant.

    `environment` is the charm's, in which Juju tells the model's proxies. What only retrofit can
    judge (is there such a series?) it is left to judge.
    """
    frequency = options["frequency"]
    document: dict[str, Any] = {
        "cloud": {"name": CLOUD, "clouds_yaml": clouds_yaml},
        "source": {},
        "build": {"format": options["image-format"], **_proxies(environment)},
        "publish": {
            "tag": options["amp-image-tag"],
            "keep": options["keep-images"],
            "adopt": options["adopt-images"],
        },
        "web": {"healthy_within": HEALTHY_WITHIN.get(frequency, NEVER) if scheduled else NEVER},
    }
    series = re.split(r"[\s,]+", options["retrofit-series"].strip())
    if series != [""]:
        document["source"]["series"] = series
    mirror, security = options["ubuntu-mirror"], options["ubuntu-security-mirror"]
    if mirror:
        document["build"]["archive_mirror"] = mirror
    if mirror or security:
        document["build"]["security_mirror"] = security or mirror
    document["build"].update(_cloud_archive(options))
    if options["debug"]:
        document["build"]["environment"] = {"DIB_DEBUG_TRACE": "1"}
    return _merged(document, _further(options["settings"]))


def toml(document: Mapping[str, Any]) -> str:
    """Write a document as TOML; the charm has no library for it."""
    return "\n".join(_table((), document)).lstrip("\n") + "\n"


def _cloud_archive(options: Mapping[str, Any]) -> dict[str, Any]:
    """Read both options of the cloud archive; the pocket that is named by itself wins."""
    found: dict[str, Any] = {}
    # The key of an archive, after the bar, is not ours to install: the image has Ubuntu's keyring.
    mirror = options["uca-mirror"].partition("|")[0].strip()
    if mirror.startswith("ppa:"):
        found["ppas"] = [mirror]
    elif mirror.startswith("cloud:"):
        # cloud:jammy-caracal/proposed -> caracal-proposed, as add-apt-repository takes it.
        release, _, pocket = mirror.removeprefix("cloud:").partition("-")[2].partition("/")
        if not release:
            raise OptionError(
                f"option uca-mirror is {mirror!r}, expected cloud:<series>-<release>[/<pocket>]"
            )
        found["cloud_archive"] = f"{release}-{pocket}" if pocket else release
    elif mirror.startswith("deb "):
        words = [word for word in mirror.split()[1:] if "://" in word]
        if not words:
            raise OptionError(f"option uca-mirror has no URL: {mirror!r}")
        found["cloud_archive_mirror"] = words[0]
    elif mirror:
        if "://" not in mirror:
            raise OptionError(
                f"option uca-mirror is {mirror!r}, expected a URL, deb URL, cloud:... or ppa:..."
            )
        found["cloud_archive_mirror"] = mirror
    if options["retrofit-uca-pocket"]:
        found["cloud_archive"] = options["retrofit-uca-pocket"]
    return found


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    names = {
        "http_proxy": "JUJU_CHARM_HTTP_PROXY",
        "https_proxy": "JUJU_CHARM_HTTPS_PROXY",
        "no_proxy": "JUJU_CHARM_NO_PROXY",
    }
    told = {key: environment.get(name, "") for key, name in names.items()}
    if not (told["http_proxy"] or told["https_proxy"]):
        return {}
    return {key: value for key, value in told.items() if value}


def _further(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"option settings is not TOML: {error}") from error


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        result[key] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return result


def _table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = (
        [f"\n[{'.'.join(_text(part) for part in path)}]"] if path and (plain or not table) else []
    )
    lines += [f"{_text(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _table((*path, key), value)
    return lines


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(key)} = {_value(each)}' for key, each in value.items())}}}"
    return str(value)  # numbers and times are written as they are read


def _text(text: str) -> str:
    escaped = "".join(
        f"\\u{ord(letter):04x}" if ord(letter) < 32 or ord(letter) == 127 else letter
        for letter in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'

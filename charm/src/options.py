"""Pure: the charm's options as retrofit's settings."""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from archives import ArchiveOptionError, Archives, archives
from keystone import CLOUD

CALENDAR = {"hourly": "hourly", "daily": "daily", "weekly": "weekly"}
"""Option frequency -> OnCalendar= of the timer."""
HEALTHY_WITHIN = {"hourly": 6, "daily": 50, "weekly": 8 * 24}
"""Option frequency -> hours within which a run should have succeeded: one may fail."""
NEVER = 100 * 365 * 24
"""Hours, where no timer runs: a run that is not scheduled is not late."""

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


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
    controller_ca: str = "",
    directory: str = "/etc/retrofit",
) -> dict[str, Any]:
    """Return the document of retrofit.toml. Raises OptionError for unusable options.

    `controller_ca` is the file with the CA of Octavia's controllers, empty without one.
    `environment` is the charm's, in which Juju sets the model's proxies. What only retrofit can
    judge (is there such a series?) is left to it. `directory` is that of the files of
    `archive_settings`.
    """
    frequency = options["frequency"]
    document: dict[str, Any] = {
        "cloud": {"name": CLOUD, "clouds_yaml": clouds_yaml},
        # As the other charm: a minimal image where there is no server image.
        "source": {"variants": ["server", "minimal"]},
        "build": {"format": options["image-format"], **_proxies(environment)},
        "publish": {
            "tag": options["amp-image-tag"],
            "keep": options["keep-images"],
            # Only where it is set: the bundle of 0.1, which may still be attached, refuses it.
            **({"replace_charm_images": True} if options["adopt-images"] else {}),
        },
        "web": {"healthy_within": HEALTHY_WITHIN.get(frequency, NEVER) if scheduled else NEVER},
    }
    series = re.split(r"[\s,]+", options["retrofit-series"].strip())
    if series != [""]:
        document["source"]["series"] = series
    document["build"].update(archive_settings(options, directory).settings)
    release = options["octavia-release"].strip()
    # Only where they are set, as above.
    octavia = {"release": release, "client_ca": controller_ca}
    if any(octavia.values()):
        document["octavia"] = {key: value for key, value in octavia.items() if value}
    if options["auto-rollover"]:
        document["rollover"] = {"enabled": True}
    if options["debug"]:
        document["build"]["environment"] = {"DIB_DEBUG_TRACE": "1"}
    return _merged(document, _further(options["settings"]))


def controller_ca(options: Mapping[str, Any]) -> str:
    """Return the certificates of option lb-mgmt-controller-cacert as PEM, and nothing else of it.

    Empty where it is empty. Raises OptionError.
    """
    name = "lb-mgmt-controller-cacert"
    if not options[name].strip():
        return ""
    try:
        text = base64.b64decode("".join(options[name].split()), validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        raise OptionError(f"option {name} is not PEM in base64") from None
    found = CERTIFICATE.findall(text)
    if not found:
        raise OptionError(f"option {name} holds no certificate")
    return "".join(f"{each}\n" for each in found)


def archive_settings(options: Mapping[str, Any], directory: str) -> Archives:
    """Return the settings of package archives, and the files below `directory` that they name.

    Raises OptionError.
    """
    try:
        return archives(options, directory)
    except ArchiveOptionError as error:
        raise OptionError(str(error)) from None


def toml(document: Mapping[str, Any]) -> str:
    """Write a document as TOML; the charm has no library for it."""
    return "\n".join(_table((), document)).lstrip("\n") + "\n"


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

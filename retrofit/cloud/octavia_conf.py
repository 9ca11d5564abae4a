"""Signs that Octavia selects other images than ours: its configuration, and amphorae it started."""

from __future__ import annotations

import configparser
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from retrofit.config import Target
from retrofit.model import Amphora, Image, Usage

USUAL_PLACE = Path("/etc/octavia/octavia.conf")
GRACE = timedelta(minutes=5)
"""Difference allowed between the clocks of Octavia's controllers and ours.

No more is needed: Octavia records an amphora before it looks for the image to start it from.
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Tag and owner in a configuration of Octavia's; None for one that it does not set.

    The certificates are those that its controllers work with, by Octavia's own defaults.
    """

    file: Path
    tag: str | None
    owner: str | None
    client_ca: Path = Path("/etc/octavia/certs/ca_01.pem")
    client_cert: Path = Path("/etc/octavia/certs/client.pem")
    server_ca: Path = Path("/etc/octavia/certs/server_ca.pem")


def mismatches(
    target: Target, *, project_id: str, promoted: Image | None, usage: Usage
) -> list[str]:
    """Return warnings that Octavia looks for another tag or owner than ours; empty when none."""
    wanted = wanted_by_octavia(target)
    if isinstance(wanted, Wanted):
        found = contradictions(
            wanted,
            tag=target.publish.tag,
            former_tags=target.publish.former_tags,
            project_id=project_id,
        )
    else:
        found = [] if wanted is None else [wanted]
    return found + unexpected_amphorae(promoted, usage.amphorae)


def wanted_by_octavia(target: Target) -> Wanted | str | None:
    """Read octavia.conf: tag, owner and certificates, or a warning why they cannot be read.

    Without `octavia.config_file`, an unreadable file in the usual place returns None.
    """
    named = target.octavia.config_file
    file = named or USUAL_PLACE
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        return f"octavia.config_file {file} cannot be read: {why}" if named else None
    try:
        return parse(text, file)
    except configparser.Error as error:
        return f"{file} is not a configuration of Octavia's: {str(error).splitlines()[0]}"
    except AttributeError:  # configparser stumbles over a line that continues a bare word
        return f"{file} is not a configuration of Octavia's: a line continues one without a value"


def parse(text: str, file: Path) -> Wanted:
    """Read what matters of the text of an octavia.conf.

    As in oslo.config, repeated sections add up and the last of several values counts. Raises
    configparser.Error.
    """
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    parser.read_string(text, source=str(file))

    def value(option: str, section: str = "controller_worker") -> str | None:
        return (parser.get(section, option, fallback=None) or "").strip() or None

    return Wanted(
        file=file,
        tag=value("amp_image_tag"),
        owner=value("amp_image_owner_id"),
        client_ca=Path(value("client_ca") or Wanted.client_ca),
        client_cert=Path(value("client_cert", "haproxy_amphora") or Wanted.client_cert),
        server_ca=Path(value("server_ca", "haproxy_amphora") or Wanted.server_ca),
    )


def contradictions(
    wanted: Wanted, *, tag: str, project_id: str, former_tags: Collection[str] = ()
) -> list[str]:
    """Return a warning for each difference between Octavia's configuration and our images."""
    messages = []
    if wanted.tag is None:
        messages.append(
            f"{wanted.file} does not set amp_image_tag: Octavia finds no image by tag; set"
            f" amp_image_tag = {tag} under [controller_worker]"
        )
    elif wanted.tag in former_tags:
        messages.append(
            f"{wanted.file} has amp_image_tag = {wanted.tag}, a former tag: our image carries it"
            f" too; set amp_image_tag = {tag}, then take {wanted.tag} out of publish.former_tags"
        )
    elif wanted.tag != tag:
        messages.append(
            f"{wanted.file} has amp_image_tag = {wanted.tag}, and publish.tag is {tag}: only"
            f" flavors that name {tag} get our image"
        )
    if wanted.owner is None:
        messages.append(
            f"{wanted.file} does not set amp_image_owner_id: Octavia may select any project's"
            f" image with the tag; set amp_image_owner_id = {project_id} under [controller_worker]"
        )
    elif wanted.owner != project_id:
        messages.append(
            f"{wanted.file} has amp_image_owner_id = {wanted.owner}, and our images belong to"
            f" project {project_id}: Octavia does not see them"
        )
    return messages


def unexpected_amphorae(promoted: Image | None, amphorae: Iterable[Amphora]) -> list[str]:
    """Return warnings about amphorae that started after the promotion from another image.

    One warning for each such image, with its first amphora.
    """
    since = None if promoted is None else promoted.time("retrofit_promoted_at")
    if promoted is None or since is None:
        return []
    found: dict[str, list[Amphora]] = defaultdict(list)
    for amphora in amphorae:
        if amphora.image_id not in {None, promoted.id} and amphora.created_at > since + GRACE:
            found[str(amphora.image_id)].append(amphora)
    messages = []
    for image_id, those in sorted(found.items()):
        first = min(those, key=lambda amphora: (amphora.created_at, amphora.id))
        others = f" and {len(those) - 1} more" if len(those) > 1 else ""
        messages.append(
            f"amphora {first.id}{others} started on image {image_id}"
            f" ({first.created_at:%Y-%m-%d %H:%M} UTC) though {promoted.id} has been promoted since"
            f" {since:%Y-%m-%d %H:%M} UTC: Octavia, or a flavor of its, looks for another tag or"
            " owner"
        )
    return messages

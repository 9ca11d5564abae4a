"""Whether Octavia looks for the image that we promote: what its configuration and its deeds say."""

from __future__ import annotations

import configparser
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from retrofit.config import Target
from retrofit.model import Amphora, Image, Usage
from retrofit.plan.inventory import moment

USUAL_PLACE = Path("/etc/octavia/octavia.conf")
GRACE = timedelta(minutes=5)
"""How far the clocks of Octavia's controllers and ours may be apart.

No more is needed: Octavia records an amphora before it looks for the image to start it from.
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a configuration of Octavia's tells it to look for; None for what it does not say."""

    file: Path
    tag: str | None
    owner: str | None


def mismatches(
    target: Target, *, project_id: str, promoted: Image | None, usage: Usage
) -> list[str]:
    """Say what shows that Octavia looks for another tag or owner than ours; empty when nothing."""
    wanted = wanted_by_octavia(target)
    if isinstance(wanted, Wanted):
        said = contradictions(wanted, tag=target.publish.tag, project_id=project_id)
    else:
        said = [] if wanted is None else [wanted]
    return said + strays(promoted, usage.amphorae)


def wanted_by_octavia(target: Target) -> Wanted | str | None:
    """Read octavia.conf: what it wants, or why a file that was named cannot tell.

    Without `octavia.config_file`, a file that is not there or not ours to read is None.
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
    """Take from an octavia.conf what decides about the image.

    As in oslo.config, repeated sections add up and the last of several values counts. Raises
    configparser.Error.
    """
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    parser.read_string(text, source=str(file))

    def value(option: str) -> str | None:
        return (parser.get("controller_worker", option, fallback=None) or "").strip() or None

    return Wanted(file=file, tag=value("amp_image_tag"), owner=value("amp_image_owner_id"))


def contradictions(wanted: Wanted, *, tag: str, project_id: str) -> list[str]:
    """Compare what Octavia is told to look for with what we publish."""
    said = []
    if wanted.tag is None:
        said.append(
            f"{wanted.file} does not set amp_image_tag: Octavia finds no image by tag; set"
            f" amp_image_tag = {tag} under [controller_worker]"
        )
    elif wanted.tag != tag:
        said.append(
            f"{wanted.file} has amp_image_tag = {wanted.tag}, and publish.tag is {tag}: only"
            f" flavors that name {tag} get our image"
        )
    if wanted.owner is None:
        said.append(
            f"{wanted.file} does not set amp_image_owner_id: any project's image with the tag could"
            f" be taken; set amp_image_owner_id = {project_id} under [controller_worker]"
        )
    elif wanted.owner != project_id:
        said.append(
            f"{wanted.file} has amp_image_owner_id = {wanted.owner}, and our images belong to"
            f" project {project_id}: Octavia does not see them"
        )
    return said


def strays(promoted: Image | None, amphorae: Iterable[Amphora]) -> list[str]:
    """Name amphorae that were started after the promotion, on another image than the promoted one.

    One line for each such image, with its first amphora as the witness.
    """
    since = None if promoted is None else moment(promoted, "retrofit_promoted_at")
    if promoted is None or since is None:
        return []
    found: dict[str, list[Amphora]] = defaultdict(list)
    for amphora in amphorae:
        if amphora.image_id not in {None, promoted.id} and amphora.created_at > since + GRACE:
            found[str(amphora.image_id)].append(amphora)
    said = []
    for image_id, those in sorted(found.items()):
        first = min(those, key=lambda amphora: (amphora.created_at, amphora.id))
        others = f" and {len(those) - 1} more" if len(those) > 1 else ""
        said.append(
            f"amphora {first.id}{others} started on image {image_id}"
            f" ({first.created_at:%Y-%m-%d %H:%M} UTC) though {promoted.id} has been promoted since"
            f" {since:%Y-%m-%d %H:%M} UTC: Octavia, or a flavor of its, looks for another tag or"
            " owner"
        )
    return said

"""States of targets and images."""

from __future__ import annotations

from retrofit.plan.image_state import image_state_rows
from retrofit.status.models import STATES
from tools.reference.markdown import table

INTRODUCTION = """\
# States

## Of a target

`state` of the [status document](status.md), and the label `state` of `retrofit_target_state`. A
target may be in several states; the first of this list that applies is shown.
"""
OF_IMAGES = """\
## Of an image

Every amphora image of a target is in exactly one state: the first of this list that applies.
It is `state` in the JSON of `retrofit list` and `retrofit show`; images of the
octavia-diskimage-retrofit charm have none.
"""
MEANINGS = {
    "running": "A run is going on on this machine.",
    "cloud_unreachable": "The cloud did not answer, refused us, or has not been asked yet.",
    "paused": "An operator paused the target: no run builds or promotes.",
    "failed": "The last run failed.",
    "backoff": "Builds from this source and recipe fail; the next try is later.",
    "no_image": "No image of the target is promoted: no load balancer can start from one.",
    "never_run": "No run has been made yet, and no image is promoted.",
    "stale": "The promoted image is older than `publish.stale_after`, or no run succeeded within"
    " `web.healthy_within`.",
    "ok": "The promoted image is current.",
}


def body() -> str:
    """Return the page."""
    rows = [(f"`{name}`", words, MEANINGS[name]) for name, words in STATES.items()]
    images = [(f"`{state}`", *texts) for state, *texts in image_state_rows()]
    return "\n".join(
        [
            INTRODUCTION,
            table(("State", "Shown as", "Meaning"), rows),
            OF_IMAGES,
            table(("State", "When", "Meaning"), images),
        ]
    )

"""Which image Octavia would start its next amphora from."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.devcloud import accounts
from tests.devcloud.places import HERE, DevcloudError, server_program
from tests.devcloud.servers import Cloud, environment


class NoAmphoraImageError(DevcloudError):
    """Octavia would find no image and could start no amphora."""


def answer(cloud: Cloud, *, tag: str = "octavia-amphora", owner: str | None = None) -> str:
    """The id of the image that Octavia takes for `tag`.

    `owner` is amp_image_owner_id, a project; without it every project's images count, as they do in
    Octavia. Raises NoAmphoraImageError where it finds none.
    """
    with tempfile.TemporaryDirectory() as work:
        conf = Path(work) / "octavia.conf"
        conf.write_text(_conf(cloud, tag, owner))
        done = subprocess.run(
            [server_program("python"), HERE / "in_servers" / "octavia_question.py", conf],
            env=environment(cloud.state),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if done.returncode != 0:
        if "Traceback" in done.stderr:
            raise DevcloudError(f"Octavia's image driver failed:\n{done.stderr[-2000:]}")
        raise NoAmphoraImageError(done.stderr.strip())
    return done.stdout.strip()


def _conf(cloud: Cloud, tag: str, owner: str | None) -> str:
    octavia = next(each for each in accounts.ACCOUNTS if each.cloud == "demo-octavia")
    auth = "\n".join(
        f"{name} = {value}" for name, value in accounts.auth_of(octavia, cloud.keystone_url).items()
    )
    return f"""\
[service_auth]
auth_type = password
{auth}

[glance]
region_name = {accounts.REGION}

[controller_worker]
amp_image_tag = {tag}
amp_image_owner_id = {owner or ""}
"""

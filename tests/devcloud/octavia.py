"""Which image Octavia would start its next amphora from."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.devcloud import accounts
from tests.devcloud.places import HERE, DevcloudError, server_program
from tests.devcloud.servers import Cloud, environment


class NoAmphoraImageError(DevcloudError):
    """Octavia would find no image and could start no amphora."""


class ImageManager:
    """Octavia's own image driver in a process of its own, to be asked again and again.

    Importing Octavia takes seconds; an answer then takes what Glance takes.
    """

    def __init__(self, cloud: Cloud, *, region: str = accounts.REGION) -> None:
        self._undo = ExitStack()
        # A loop that polls and the test beside it may ask at the same time.
        self._one_at_a_time = threading.Lock()
        work = Path(self._undo.enter_context(tempfile.TemporaryDirectory()))
        (work / "octavia.conf").write_text(_conf(cloud, region))
        self._log = work / "stderr"
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [
                    server_program("python"),
                    HERE / "in_servers" / "octavia_question.py",
                    work / "octavia.conf",
                ],
                env=environment(cloud.state),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        self._undo.callback(self._end)

    def answer(self, *, tag: str = "octavia-amphora", owner: str | None = None) -> str:
        """The id of the image that Octavia takes for `tag`.

        `owner` is amp_image_owner_id, a project; without it every project's images count, as they
        do in Octavia. Raises NoAmphoraImageError where it finds none.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps([tag, owner]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise DevcloudError(f"Octavia's image driver failed:\n{self._log.read_text()[-2000:]}")
        answer = json.loads(line)
        if "none" in answer:
            raise NoAmphoraImageError(answer["none"])
        return str(answer["image"])

    def close(self) -> None:
        self._undo.close()

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()  # the end of the questions ends it
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answer(cloud: Cloud, *, tag: str = "octavia-amphora", owner: str | None = None) -> str:
    """The id of the image that Octavia takes, asked once: see `ImageManager.answer`."""
    with ImageManager(cloud) as manager:
        return manager.answer(tag=tag, owner=owner)


def _conf(cloud: Cloud, region: str) -> str:
    octavia = next(each for each in accounts.ACCOUNTS if each.cloud == "demo-octavia")
    auth = "\n".join(
        f"{name} = {value}" for name, value in accounts.auth_of(octavia, cloud.keystone_url).items()
    )
    return f"""\
[service_auth]
auth_type = password
{auth}

[glance]
region_name = {region}
"""

"""Asks Glance for the amphora image the way Octavia does, by Octavia's own image driver.

Run in the servers' environment, with Octavia's configuration file as the one argument. Each line
of stdin is a question, `["tag", "owner or null"]`; its answer is `{"image": ...}`, or
`{"none": ...}` with what Octavia says when it finds nothing.
"""

from __future__ import annotations

import json
import sys

from octavia.common import config, exceptions
from octavia.image.drivers.glance_driver import ImageManager


def main() -> None:
    config.init(["--config-file", sys.argv[1]])
    manager = ImageManager()
    for line in sys.stdin:
        tag, owner = json.loads(line)
        try:
            answer = {"image": manager.get_image_id_by_tag(tag, owner)}
        except exceptions.ImageGetException as error:
            answer = {"none": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

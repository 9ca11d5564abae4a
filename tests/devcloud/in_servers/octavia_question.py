"""Asks Glance for the amphora image the way Octavia does, by Octavia's own image driver.

Run in the servers' environment, with Octavia's configuration file as the one argument.
"""

from __future__ import annotations

import sys

from octavia.common import config, exceptions
from octavia.image.drivers.glance_driver import ImageManager
from oslo_config import cfg


def main() -> None:
    config.init(["--config-file", sys.argv[1]])
    settings = cfg.CONF.controller_worker
    try:
        image = ImageManager().get_image_id_by_tag(
            settings.amp_image_tag, settings.amp_image_owner_id or None
        )
    except exceptions.ImageGetException as error:
        sys.exit(str(error))
    print(image)


if __name__ == "__main__":
    main()

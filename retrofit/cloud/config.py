"""Which cloud: clouds.yaml and OS_*, read the way every OpenStack tool does."""

from __future__ import annotations

import stat
from functools import cache
from pathlib import Path
from typing import Any

import openstack.config
import openstack.exceptions
import structlog
from keystoneauth1 import exceptions as ks_exc

from retrofit.config import CloudSettings
from retrofit.errors import ConfigError

log = structlog.get_logger(__name__)


def cloud_region(settings: CloudSettings) -> Any:
    """Find the cloud and region that the settings name.

    Raises ConfigError that says which clouds there are.
    """
    try:
        files = None if settings.clouds_yaml is None else [str(settings.clouds_yaml)]
        loader = openstack.config.OpenStackConfig(config_files=files, app_name="retrofit")
        chosen = {
            key: value
            for key, value in (
                ("cloud", settings.name),
                ("region_name", settings.region),
                ("interface", settings.interface),
            )
            if value is not None
        }
        region = loader.get_one(**chosen)
        region.get_auth_args()
        known = ", ".join(sorted(loader.get_cloud_names())) or "none"
    except (openstack.exceptions.ConfigException, ks_exc.MissingRequiredOptions) as error:
        raise ConfigError(
            f"no usable cloud is configured: {error}",
            hint="set cloud.name to a cloud of clouds.yaml (cloud.clouds_yaml names the file),"
            " or set OS_AUTH_URL and the other OS_* variables",
        ) from error
    if not region.config.get("auth", {}).get("auth_url"):
        raise ConfigError(
            "no usable cloud is configured: there is no auth_url",
            hint=f"set cloud.name to a cloud of clouds.yaml (it has: {known}),"
            " or set OS_AUTH_URL and the other OS_* variables",
        )
    _warn_of_readers(getattr(loader, "config_filename", None))
    return region


@cache
def _warn_of_readers(path: str | None) -> None:
    """Warn, once, of a clouds.yaml with a password that every user of this machine can read."""
    try:
        mode = Path(path).stat().st_mode if path else 0
    except OSError:
        return
    if mode & stat.S_IROTH:
        log.warning("everybody can read the cloud's credentials", file=path)

"""Which cloud: clouds.yaml and OS_*, read the way every OpenStack tool does."""

from __future__ import annotations

import itertools
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

import openstack.config
import openstack.exceptions
import structlog
from keystoneauth1 import exceptions as ks_exc
from openstack.config import loader as defaults

from retrofit.config import CloudSettings
from retrofit.errors import ConfigError
from retrofit.trustworthy import require_trustworthy

log = structlog.get_logger(__name__)


def cloud_region(settings: CloudSettings) -> Any:
    """Find the cloud and region that the settings name.

    Raises ConfigError that says which clouds there are, or which file is not trusted.
    """
    try:
        loader = openstack.config.OpenStackConfig(app_name="retrofit", **_files(settings))
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


def _files(settings: CloudSettings) -> dict[str, list[str]]:
    """Return where clouds.yaml and what belongs to it are looked for, all of it trustworthy.

    In the usual places but one: whoever may write into the directory in which root happens to
    call us would say where root's password goes.
    """
    found = {
        "config_files": _but_here(defaults.CONFIG_FILES),
        "secure_files": _but_here(defaults.SECURE_FILES),
        "vendor_files": _but_here(defaults.VENDOR_FILES),
    }
    if settings.clouds_yaml is not None:
        secure = settings.clouds_yaml.with_name("secure.yaml")
        found["config_files"] = [str(settings.clouds_yaml)]
        found["secure_files"].insert(0, str(secure))
    named = [
        os.environ[name]
        for name in ("OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE")
        if os.environ.get(name)
    ]
    for path in map(Path, (*named, *itertools.chain(*found.values()))):
        try:
            status = path.stat()
        except OSError:
            continue  # whoever needs it says so
        require_trustworthy(path, status)
    return found


def _but_here(files: list[str]) -> list[str]:
    """Leave out the working directory, which is the first of all that are searched."""
    return files[len(files) // len(defaults.CONFIG_SEARCH_PATH) :]


@cache
def _warn_of_readers(path: str | None) -> None:
    """Warn, once, of a clouds.yaml with a password that every user of this machine can read."""
    try:
        mode = Path(path).stat().st_mode if path else 0
    except OSError:
        return
    if mode & stat.S_IROTH:
        log.warning("everybody can read the cloud's credentials", file=path)

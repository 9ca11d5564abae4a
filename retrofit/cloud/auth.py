"""The configured cloud: clouds.yaml and OS_*, read as every OpenStack tool reads them.

They are read here only, for Keystone, Glance and Octavia alike: `cloud_region` returns
openstacksdk's region, whose session, endpoints and overrides all others use. An explicit setting
wins over the environment, and the environment over files in the usual places;
`ignored_variables` lists what lost.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import openstack.config
import openstack.exceptions
import structlog
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1.session import Session
from openstack.config import loader as defaults

from retrofit.config import CloudSettings
from retrofit.config.secrets import is_cloud_secret
from retrofit.errors import ConfigError
from retrofit.redaction import remember
from retrofit.system.file_ownership import require_not_writable_by_others

log = structlog.get_logger(__name__)

CONFIG_FILE = "OS_CLIENT_CONFIG_FILE"
SECURE_FILE = "OS_CLIENT_SECURE_FILE"
SERVICES = ("image", "load_balancer", "compute", "network")
"""As clouds.yaml names them in keys such as `image_interface`."""
SAME_AS = {
    "OS_AUTH_URL": ("auth", "auth_url"),
    "OS_USERNAME": ("auth", "username"),
    "OS_USER_ID": ("auth", "user_id"),
    "OS_PROJECT_NAME": ("auth", "project_name"),
    "OS_PROJECT_ID": ("auth", "project_id"),
    "OS_APPLICATION_CREDENTIAL_ID": ("auth", "application_credential_id"),
    "OS_REGION_NAME": ("", "region_name"),
    "OS_INTERFACE": ("", "interface"),
    "OS_CACERT": ("", "cacert"),
}
"""Variable -> section and key of a region that replace it where a cloud is named."""


class UnpacedSession(Session):
    """A session whose requests never wait for each other.

    keystoneauth's adapters pace theirs by the wall clock, even without any limit: with the clock
    set back by an hour, every request would wait for an hour.
    """

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Make a request as `Session` does, but for its pace."""
        kwargs.pop("rate_semaphore", None)
        return super().request(*args, **kwargs)


class _Loader(openstack.config.OpenStackConfig):  # type: ignore[misc] # untyped to mypy
    """openstacksdk's loader, but for variables that a setting replaces.

    The loader has a switch for all of the environment and none for a part of it. `whole` is False
    where the environment must not describe a cloud of its own.
    """

    def __init__(self, *, replaced: frozenset[str], whole: bool, **options: Any) -> None:
        self._replaced = replaced
        self._whole = whole
        super().__init__(**options)

    def _get_envvar(self, key: str, default: str | None = None) -> str | None:
        return default if key in self._replaced else super()._get_envvar(key, default)

    def _get_os_environ(self, envvar_prefix: str | None = None) -> dict[str, Any] | None:
        found: dict[str, Any] | None = super()._get_os_environ(envvar_prefix)
        if not self._whole or found is None:
            return None
        gone = {name.removeprefix("OS_").lower() for name in self._replaced}
        return {key: value for key, value in found.items() if key not in gone}


def cloud_region(settings: CloudSettings) -> Any:
    """Return the cloud and region of the settings as openstacksdk's CloudRegion.

    Raises ConfigError, with the names of the known clouds or of a file that is not trusted or
    not readable.
    """
    try:
        loader = _Loader(
            app_name="retrofit",
            session_constructor=UnpacedSession,
            replaced=_replaced(settings, os.environ),
            whole=settings.clouds_yaml is None,
            **_files(settings),
        )
        if settings.clouds_yaml is not None and loader.config_filename is None:
            raise ConfigError(
                f"{settings.clouds_yaml} cannot be read as YAML",
                hint="cloud.clouds_yaml must name a clouds.yaml; check its syntax and mode",
            )
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
        known = ", ".join(sorted(loader.get_cloud_names())) or "none"
    except (openstack.exceptions.ConfigException, ks_exc.AuthPluginException) as error:
        raise ConfigError(
            f"no usable cloud is configured: {error}",
            hint="set cloud.name to a cloud of clouds.yaml (cloud.clouds_yaml names the file),"
            " or set OS_AUTH_URL and the other OS_* variables",
        ) from error
    if not region.get_auth_args().get("auth_url"):
        raise ConfigError(
            f"no usable cloud is configured: there is no auth_url{_found_in(loader, region)}",
            hint=f"set cloud.name to a cloud of clouds.yaml (it has: {known}),"
            " or set OS_AUTH_URL and the other OS_* variables",
        )
    remember(
        value
        for key, value in region.get_auth_args().items()
        if isinstance(value, str) and is_cloud_secret(key)
    )
    _let_settings_win(region, settings)
    _require_certificates(region)
    _warn_of_readers(loader.config_filename)
    if region.name != loader.envvar_key:
        for variable, instead in ignored_variables(settings, os.environ, region.config):
            _warn_of_ignored(variable, instead)
    return region


def ignored_variables(
    settings: CloudSettings, environment: Mapping[str, str], region: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield the variables that contradict the values in use, and the source of those.

    `region` is the configuration of a cloud that is named by a setting, by OS_CLOUD, or by being
    the only one of its file: openstacksdk takes none of its values from the environment.
    """
    for variable, path in _overruled_files(settings, environment):
        yield variable, str(path)
    if settings.name and environment.get("OS_CLOUD") not in {None, "", settings.name}:
        yield "OS_CLOUD", f"cloud.name = {settings.name}"
    for variable, (section, key) in SAME_AS.items():
        value = environment.get(variable)
        used = (region.get(section) or {}).get(key) if section else region.get(key)
        if value and used and value.rstrip("/") != str(used).rstrip("/"):
            yield variable, f"{key} of the cloud's entry in clouds.yaml"


def _replaced(settings: CloudSettings, environment: Mapping[str, str]) -> frozenset[str]:
    """Return the variables that a setting replaces."""
    names = {variable for variable, _ in _overruled_files(settings, environment)}
    if settings.region is not None:
        names.add("OS_REGION_NAME")
    return frozenset(names)


def _overruled_files(
    settings: CloudSettings, environment: Mapping[str, str]
) -> Iterator[tuple[str, Path]]:
    """Yield the variables that name other files than cloud.clouds_yaml and the one beside it."""
    if settings.clouds_yaml is None:
        return
    for variable, path in (
        (CONFIG_FILE, settings.clouds_yaml),
        (SECURE_FILE, settings.clouds_yaml.with_name("secure.yaml")),
    ):
        value = environment.get(variable)
        if value and path.exists() and Path(value).absolute() != path.absolute():
            yield variable, path


def _let_settings_win(region: Any, settings: CloudSettings) -> None:
    """Let a setting win over clouds.yaml's values for single services, and for older names."""
    for key, value in (("interface", settings.interface), ("region_name", settings.region)):
        if value is not None:
            region.config[key] = value
            for service in SERVICES:
                region.set_service_value(key, service, value)


def _require_certificates(region: Any) -> None:
    """Raise ConfigError where a TLS file of clouds.yaml is missing, or others may change it."""
    if not isinstance(region.config.get("verify", True), bool):
        raise ConfigError(
            f"verify of cloud {region.name} is {region.config['verify']!r}",
            hint="set verify to true or false in clouds.yaml, and cacert to the file of a CA",
        )
    verify, cert = region.get_requests_verify_args()
    certificate, private_key = (cert, None) if isinstance(cert, str) else cert or (None, None)
    for key, path in (("cacert", verify), ("cert", certificate), ("key", private_key)):
        if not isinstance(path, str):
            continue  # True or False of `verify`, or not there
        file = Path(path)
        try:
            if not file.is_dir():
                with file.open("rb"):
                    pass
            require_not_writable_by_others(file, file.stat())
        except OSError as error:
            raise ConfigError(
                f"{key} of cloud {region.name} cannot be read: {path}: {error.strerror}",
                hint=f"correct {key} of that entry in clouds.yaml, or OS_{key.upper()}",
            ) from error


def _found_in(loader: _Loader, region: Any) -> str:
    """Return why the environment is used as a cloud, as a clause; empty where it is not."""
    if region.name != loader.envvar_key:
        return ""
    variables = sorted(name for name in os.environ if name.startswith("OS_"))
    return f" (the environment is used as the cloud, since it has {', '.join(variables)})"


def _files(settings: CloudSettings) -> dict[str, list[str]]:
    """Return the paths searched for clouds.yaml and its companions, all of them trustworthy.

    They are the usual ones without the working directory: a user who may write into the directory
    in which root happens to call us could choose where root's password is sent.
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
    replaced = _replaced(settings, os.environ)
    named = [
        os.environ[name]
        for name in (CONFIG_FILE, SECURE_FILE)
        if os.environ.get(name) and name not in replaced
    ]
    for path in map(Path, (*named, *itertools.chain(*found.values()))):
        try:
            status = path.stat()
        except OSError:
            continue  # openstacksdk reports a missing file that it needs
        require_not_writable_by_others(path, status)
    return found


def _but_here(files: list[str]) -> list[str]:
    """Leave out the working directory, which is searched first."""
    return files[len(files) // len(defaults.CONFIG_SEARCH_PATH) :]


@cache
def _warn_of_readers(path: str | None) -> None:
    """Warn once about a clouds.yaml that every user of this machine can read."""
    try:
        mode = Path(path).stat().st_mode if path else 0
    except OSError:
        return
    if mode & stat.S_IROTH:
        log.warning("cloud credentials are readable by every user", file=path)


@cache
def _warn_of_ignored(variable: str, instead: str) -> None:
    """Warn once about a variable that contradicts the value in use."""
    log.warning("environment variable ignored", variable=variable, used=instead)

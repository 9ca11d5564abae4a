"""The configuration files of Keystone and Glance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.devcloud.places import SERVER_ENVIRONMENT


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a test may want to be different about a cloud."""

    token_ttl: int = 3600
    """Seconds until a token expires."""
    image_size_cap: int = 1 << 40
    """Bytes."""
    user_storage_quota: str = "0"
    """As Glance takes it, such as "16MB"; "0" is no quota."""
    extra_glance: str = ""
    """Lines appended to glance-api.conf; they begin with their own [section]."""


def keystone_conf(state: Path, limits: Limits) -> str:
    """The content of keystone.conf."""
    return f"""\
[DEFAULT]
log_file = {state}/log/keystone.log

[database]
connection = sqlite:///{state}/keystone/keystone.db?timeout=30
sqlite_synchronous = false

[identity]
# Every command logs in, and these passwords are no secrets: the least rounds that bcrypt knows.
password_hash_rounds = 4

[token]
provider = fernet
expiration = {limits.token_ttl}

[fernet_tokens]
key_repository = {state}/keystone/fernet-keys

[credential]
key_repository = {state}/keystone/credential-keys

[cache]
enabled = true
backend = dogpile.cache.memory

[oslo_messaging_notifications]
driver = noop
"""


def glance_conf(state: Path, limits: Limits, *, keystone_url: str, glance_url: str) -> str:
    """The content of glance-api.conf."""
    return f"""\
[DEFAULT]
log_file = {state}/log/glance.log
enabled_backends = local:file
enabled_import_methods = []
worker_self_reference_url = {glance_url}
node_staging_uri = file://{state}/glance/staging
image_size_cap = {limits.image_size_cap}
user_storage_quota = {limits.user_storage_quota}

[image_format]
# The last two are not Glance's by default: clouds with LXD containers add them, and their
# synchronisers then bring several items of one version.
disk_formats = ami,ari,aki,vhd,vhdx,vmdk,raw,qcow2,vdi,iso,ploop,root-tar,squashfs

[glance_store]
default_backend = local

[local]
filesystem_store_datadir = {state}/glance/images

[os_glance_staging_store]
filesystem_store_datadir = {state}/glance/staging

[os_glance_tasks_store]
filesystem_store_datadir = {state}/glance/tasks

[database]
connection = sqlite:///{state}/glance/glance.db?timeout=30
sqlite_synchronous = false

[keystone_authtoken]
www_authenticate_uri = {keystone_url}
auth_url = {keystone_url}
auth_type = password
username = glance
password = glance
project_name = services
user_domain_id = default
project_domain_id = default
service_type = image

[paste_deploy]
flavor = keystone
config_file = {SERVER_ENVIRONMENT}/etc/glance/glance-api-paste.ini

[oslo_concurrency]
lock_path = {state}/glance/lock

[oslo_messaging_notifications]
driver = noop

{limits.extra_glance}
"""

"""The exceptions of Octavia's clients, translated to ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc

from retrofit.cloud.errors import BROKEN, STRANGE
from retrofit.errors import CloudError
from retrofit.redaction import redacted
from retrofit.system.retry import first_line


class OctaviaError(CloudError):
    """Octavia failed at `action`; `reason` is a clause without it, for use in other sentences."""

    def __init__(self, action: str, reason: str, *, hint: str) -> None:
        super().__init__(f"cannot {action}: {reason}", hint=hint)
        self.reason = redacted(reason)


class DeniedError(OctaviaError):
    """Octavia answers, but refuses these credentials."""


@contextmanager
def reading(action: str) -> Iterator[None]:
    """Translate as `_translated`, and answers of another form than Octavia's too."""
    try:
        with translated_octavia(action):
            yield
    except STRANGE as error:
        raise OctaviaError(
            action,
            f"the endpoint is not an Octavia API ({type(error).__name__}: {error})",
            hint="check which service answers at the URL in `openstack catalog show load-balancer`",
        ) from error


@contextmanager
def translated_octavia(action: str) -> Iterator[None]:
    """Translate the clients' exceptions to OctaviaError."""
    try:
        yield
    except (sdk_exc.ForbiddenException, ks_exc.Forbidden) as error:
        raise DeniedError(
            action,
            "Octavia refuses these credentials",
            hint="octavia.cloud may name an entry of clouds.yaml whose user has the role admin;"
            " load-balancer_admin is enough up to 2024.2, and from 2025.1 on only where a policy"
            " file of Octavia's grants it os_load-balancer_api:amphora:get_all;"
            ' octavia.query = "auto" goes on without',
        ) from error
    except sdk_exc.NotFoundException as error:
        # Only listings are read, and a listing is there where Octavia is.
        raise OctaviaError(
            action,
            f"the endpoint is not an Octavia API ({first_line(error)})",
            hint="check the address in `openstack catalog show load-balancer`, or"
            " load_balancer_endpoint_override in clouds.yaml, and the proxy before Octavia",
        ) from error
    except ks_exc.Unauthorized as error:
        raise OctaviaError(
            action,
            "Keystone refuses the credentials",
            hint="check user, password, project and their domains of the cloud that octavia.cloud"
            " names, or else of [cloud]",
        ) from error
    except (ks_exc.EndpointNotFound, ks_exc.EmptyCatalog) as error:
        raise OctaviaError(
            action,
            "this region has no load balancing service",
            hint="check cloud.region and cloud.interface against"
            " `openstack catalog show load-balancer`",
        ) from error
    except (ks_exc.ConnectFailure, ks_exc.DiscoveryFailure, ks_exc.SSLError) as error:
        raise OctaviaError(
            action,
            f"Octavia cannot be reached ({_first_line(error)})",
            hint="check that Octavia is up and that its endpoint is reachable from here",
        ) from error
    except STRANGE:
        raise  # for `_reading`
    except (*BROKEN, sdk_exc.SDKException, ks_exc.ClientException) as error:
        raise OctaviaError(
            action,
            f"Octavia fails ({_first_line(error)})",
            hint="see the reason in Octavia's log, then run again",
        ) from error


def _first_line(error: Exception) -> str:
    # The rest of keystoneauth's message is the repr of a urllib3 object.
    return first_line(error).partition(": HTTP")[0]

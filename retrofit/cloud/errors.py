"""The exceptions of the OpenStack clients, translated to ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from glanceclient import exc as glance_exc
from keystoneauth1 import exceptions as ks_exc

from retrofit.errors import CloudError, RetrofitError

UNREACHABLE = (
    glance_exc.CommunicationError,
    glance_exc.ClientException,
    ks_exc.ClientException,
    requests.exceptions.ConnectionError,
)
"""What is left when the more telling exceptions are taken: somewhere a connection broke."""


class MissingImageError(CloudError):
    """Glance knows no such image (or tag), or shows it to us no more."""


@contextmanager
def translated(
    action: str, *, failure: type[RetrofitError] = CloudError, auth_url: str | None = None
) -> Iterator[None]:
    """Turn the clients' exceptions into ours; `failure` is for an answer that says no.

    The table of what the clients raise when was measured against Glance 33 and Keystone 30.
    """
    try:
        yield
    except ks_exc.Unauthorized as error:
        raise CloudError(
            f"cannot {action}: Keystone refuses the credentials",
            hint="check user, password, project and their domains in clouds.yaml or OS_*",
        ) from error
    except (ks_exc.EndpointNotFound, ks_exc.EmptyCatalog) as error:
        raise CloudError(
            f"cannot {action}: there is no image service in this region",
            hint="check cloud.region and cloud.interface against `openstack catalog show image`",
        ) from error
    except (ks_exc.ConnectFailure, ks_exc.SSLError, ks_exc.DiscoveryFailure) as error:
        raise CloudError(
            f"cannot {action}: {_first_line(error)}",
            hint=f"check that {auth_url or 'the endpoint'} is reachable from here",
        ) from error
    except glance_exc.HTTPNotFound as error:
        raise MissingImageError(f"cannot {action}: there is no such image") from error
    except (glance_exc.HTTPForbidden, ks_exc.Forbidden) as error:
        raise failure(
            f"cannot {action}: Glance forbids it: {_first_line(error)}",
            hint="the project needs the rights that README.md lists",
        ) from error
    except glance_exc.HTTPException as error:
        raise failure(
            f"cannot {action}: Glance answers {_first_line(error)}",
            hint="look into Glance's log for the reason, then run again",
        ) from error
    except UNREACHABLE as error:
        raise CloudError(
            f"cannot {action}: {_first_line(error)}", hint="check that Glance is up, then run again"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

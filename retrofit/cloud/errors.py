"""The exceptions of the OpenStack clients: which may pass, and what they are in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from glanceclient import exc as glance_exc
from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc

from retrofit.errors import CloudError, RetrofitError
from retrofit.patience import PASSING, InterruptedTransferError, first_line

BROKEN = (
    glance_exc.CommunicationError,
    glance_exc.InvalidEndpoint,  # the client's name for a time limit
    ks_exc.ConnectionError,
    ks_exc.DiscoveryFailure,
    ks_exc.InvalidResponse,
    requests.exceptions.RequestException,
    InterruptedTransferError,
    TimeoutError,
)
"""Somewhere a connection broke, or nothing came."""

STRANGE = (AttributeError, KeyError, TypeError, ValueError)
"""What the clients raise over answers of another form than the service's: a proxy's page."""


class MissingImageError(CloudError):
    """Glance knows no such image (or tag), or shows it to us no more."""


def may_pass(error: Exception, status: int | None) -> bool:
    """Say whether another attempt may go well; `status` is that of the last answer."""
    if isinstance(error, ks_exc.SSLError):
        return "CERTIFICATE" not in str(error).upper()
    if isinstance(error, ks_exc.HttpError):
        return error.http_status in PASSING
    if isinstance(error, (glance_exc.HTTPException, sdk_exc.HttpException)):
        # Glance's client does not know the rarer ones of its exceptions' codes.
        return status in PASSING
    return isinstance(error, (*BROKEN, *STRANGE))


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
            f"cannot {action}: {first_line(error)}",
            hint=f"check that {auth_url or 'the endpoint'} is reachable from here",
        ) from error
    except glance_exc.HTTPNotFound as error:
        raise MissingImageError(f"cannot {action}: there is no such image") from error
    except (glance_exc.HTTPForbidden, ks_exc.Forbidden) as error:
        raise failure(
            f"cannot {action}: Glance forbids it: {first_line(error)}",
            hint="the project needs the rights that README.md lists",
        ) from error
    except glance_exc.HTTPException as error:
        raise failure(
            f"cannot {action}: Glance answers {first_line(error)}",
            hint="look into Glance's log for the reason, then run again",
        ) from error
    except STRANGE as error:
        raise CloudError(
            f"cannot {action}: what answers is not Glance ({type(error).__name__}:"
            f" {first_line(error)})",
            hint="check what answers at the address of `openstack catalog show image`",
        ) from error
    except (*BROKEN, glance_exc.ClientException, ks_exc.ClientException) as error:
        raise CloudError(
            f"cannot {action}: {first_line(error)}", hint="check that Glance is up, then run again"
        ) from error

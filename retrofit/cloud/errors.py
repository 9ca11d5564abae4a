"""The exceptions of the OpenStack clients: which are temporary, and their translation to ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from glanceclient import exc as glance_exc
from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc

from retrofit.errors import CloudDeniedError, CloudError, RetrofitError
from retrofit.system.http_body import InterruptedTransferError
from retrofit.system.retry import PASSING, first_line

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
"""A connection broke, or no answer came in time."""

STRANGE = (AttributeError, KeyError, TypeError, ValueError)
"""Raised by the clients for answers of another form than the service's, as a proxy's page."""


class MissingImageError(CloudError):
    """Glance has no such image (or tag), or does not show it to these credentials."""


def may_pass(error: Exception, status: int | None) -> bool:
    """Return True if another attempt may succeed; `status` is that of the last response."""
    if isinstance(error, ks_exc.SSLError):
        return "CERTIFICATE" not in str(error).upper()
    if isinstance(error, ks_exc.HttpError):
        return error.http_status in PASSING
    if isinstance(error, (glance_exc.HTTPException, sdk_exc.HttpException)):
        # Glance's client does not know the rarer ones of its exceptions' codes.
        return status in PASSING
    return isinstance(error, (*BROKEN, *STRANGE))


def connection_error(error: Exception) -> str:
    """Return why a connection failed in some words: libraries nest their own five deep.

    `Connection refused` by the system's own name, with the server; else the first line.
    """
    line = first_line(error)
    found = re.search(r"\[Errno -?\d+\] ([^'\")>\]]+)", str(error))
    if found is None:
        return line
    server = re.search(r"host='([^']+)', port=(\d+)", str(error))
    return f"{server[1]}:{server[2]}: {found[1]}" if server else found[1]


@contextmanager
def translated(
    action: str, *, failure: type[RetrofitError] = CloudError, auth_url: str | None = None
) -> Iterator[None]:
    """Translate the clients' exceptions to ours; a refusal becomes a `failure`.

    Which exception comes when was measured against Glance 33 and Keystone 30.
    """
    try:
        yield
    except ks_exc.Unauthorized as error:
        raise CloudDeniedError(
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
            f"cannot {action}: {connection_error(error)}",
            hint=f"check that {auth_url or 'the endpoint'} is reachable from here",
        ) from error
    except glance_exc.HTTPNotFound as error:
        raise MissingImageError(f"cannot {action}: there is no such image") from error
    except (glance_exc.HTTPForbidden, ks_exc.Forbidden) as error:
        raise failure(
            f"cannot {action}: Glance forbids it: {first_line(error)}",
            hint="docs/how-to/install.md lists the rights that the project needs",
        ) from error
    except glance_exc.HTTPOverLimit as error:
        raise failure(
            f"cannot {action}: Glance answers {_with_code(error)}",
            hint="Glance's quota or image_size_cap, or a limit of the proxy before it"
            " (client_max_body_size, LimitRequestBody), is smaller than the image",
        ) from error
    except glance_exc.HTTPException as error:
        raise failure(
            f"cannot {action}: Glance answers {_with_code(error)}",
            hint="see the reason in Glance's log, then run again",
        ) from error
    except STRANGE as error:
        raise CloudError(
            f"cannot {action}: the endpoint is not a Glance API ({type(error).__name__}:"
            f" {first_line(error)})",
            hint="check which service answers at the URL in `openstack catalog show image`",
        ) from error
    except (*BROKEN, glance_exc.ClientException, ks_exc.ClientException) as error:
        raise CloudError(
            f"cannot {action}: {connection_error(error)}",
            hint="check that Glance is up, then run again",
        ) from error


def _with_code(error: glance_exc.HTTPException) -> str:
    """Return the first line of an answer's message, with the status code."""
    line = first_line(error)
    return line if str(error.code) in line else f"{line} ({error.code})"

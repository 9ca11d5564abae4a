"""Why a cloud cannot be used, in words: no object of a library, and no silence that is none."""

from __future__ import annotations

import pytest
from keystoneauth1 import exceptions as ks_exc

from retrofit.cloud.errors import connection_error, translated
from retrofit.errors import CloudDeniedError, CloudError, error_of

REFUSED = (
    "Unable to establish connection to http://127.0.0.1:1/v3/auth/tokens:"
    " HTTPConnectionPool(host='127.0.0.1', port=1): Max retries exceeded with url:"
    " /v3/auth/tokens (Caused by NewConnectionError('<urllib3.connection.HTTPConnection object"
    " at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused'))"
)
UNKNOWN = (
    "Unable to establish connection to https://keystone.example.org:5000: HTTPSConnectionPool("
    "host='keystone.example.org', port=5000): Max retries exceeded with url: / (Caused by"
    ' NameResolutionError("<object>: Failed to resolve: [Errno -2] Name or service not known"))'
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (REFUSED, "127.0.0.1:1: Connection refused"),
        (UNKNOWN, "keystone.example.org:5000: Name or service not known"),
        ("request timed out\nsecond line", "request timed out"),
    ],
)
def test_a_connection_that_failed_is_told_in_some_words(text: str, words: str) -> None:
    assert connection_error(ks_exc.ConnectFailure(text)) == words
    with pytest.raises(CloudError) as caught, translated("list images", auth_url="http://k"):
        raise ks_exc.ConnectFailure(text)
    assert caught.value.message == f"cannot list images: {words}"


def test_refused_credentials_are_an_error_of_their_own() -> None:
    with pytest.raises(CloudDeniedError) as caught, translated("log in"):
        raise ks_exc.Unauthorized
    assert (caught.value.code, caught.value.exit_code) == ("cloud-denied", 3)
    again = error_of("cloud-denied", "no", hint="check")
    assert type(again) is CloudDeniedError

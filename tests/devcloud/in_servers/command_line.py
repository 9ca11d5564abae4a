"""What the tests have a server of the development cloud do that no request of its API does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any


class CommandLine:
    """A service's API, and beside it /does/NAME: the functions of a module, for tests to call."""

    def __init__(self, api: Callable[..., Iterable[bytes]], functions: ModuleType) -> None:
        self._api = api
        self._functions = functions

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        name = environ["PATH_INFO"].removeprefix("/does/")
        if name == environ["PATH_INFO"]:
            return self._api(environ, start)
        given = json.load(environ["wsgi.input"])
        getattr(self._functions, name)(*given)
        start("204 No Content", [])
        return []

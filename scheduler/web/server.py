"""Serve while the worker works, and never keep it from working."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import waitress.server
from waitress import wasyncore

from retrofit.config import Settings, WebSettings
from scheduler.web.app import Application
from scheduler.web.snapshot import Snapshot

log = structlog.get_logger(__name__)

THREADS = 4
CONNECTIONS = 100
"""Accepted at a time; whoever comes later waits in the kernel's queue."""
IDLE_SECONDS = 20
"""After which a connection that says nothing is closed."""
STOP_SECONDS = 2
"""That answers being sent get when the worker stops."""
HEADER_BYTES = 16 * 1024


@contextmanager
def snapshot_served(settings: Callable[[], Settings]) -> Iterator[str | None]:
    """Serve a snapshot that is renewed as long as the block lasts; yields None where it fails."""
    try:
        snapshot = Snapshot(settings)
        application = Application(snapshot, settings)
    except Exception:  # whatever it is, it is no reason to keep no image current
        log.exception("status page not served")
        yield None
        return
    with snapshot, served(application, settings().web) as address:
        yield address


@contextmanager
def served(application: Application, web: WebSettings) -> Iterator[str | None]:
    """Serve an application for the length of the block; yields its address, None without one."""
    server = _server(application, web)
    if server is None:
        yield None
        return
    ended = threading.Event()
    thread = threading.Thread(target=_loop, args=(server, ended), name="web", daemon=True)
    thread.start()
    address = url_of(web.address, int(server.effective_port))
    log.info("status page served", url=address)
    if not ipaddress.ip_address(web.address).is_loopback:
        log.warning("status page is read by whoever reaches it", address=web.address)
    try:
        yield address
    finally:
        # Nothing is closed while another thread may use it: descriptors are used again by others.
        ended.set()
        server.pull_trigger()
        thread.join()
        server.task_dispatcher.shutdown(timeout=STOP_SECONDS)
        wasyncore.close_all(server._map, ignore_all=True)


def _loop(server: Any, ended: threading.Event) -> None:
    """Do what `server.run` does, until it is ended from outside, which that does not provide."""
    while not ended.is_set():
        wasyncore.loop(
            timeout=server.adj.asyncore_loop_timeout,
            map=server._map,
            use_poll=server.adj.asyncore_use_poll,
            count=1,
        )


def url_of(address: str, port: int) -> str:
    """Return the page's address."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}/"


def _server(application: Application, web: WebSettings) -> Any:
    try:
        return waitress.server.create_server(
            application,
            host=web.address,
            port=web.port,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=5,
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=1024,
            ident=None,
            clear_untrusted_proxy_headers=True,
        )
    except OSError as error:
        log.error(  # noqa: TRY400  (an operator's matter: no traceback)
            "status page not served",
            address=web.address,
            port=web.port,
            error=error.strerror,
        )
        return None

"""Serve while the worker works, and never keep it from working."""

from __future__ import annotations

import ipaddress
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from waitress import wasyncore

from retrofit.config import Settings, WebSettings
from scheduler.web.app import Application
from scheduler.web.connections import CONNECTIONS, Server
from scheduler.web.snapshot import Snapshot

log = structlog.get_logger(__name__)

THREADS = 4
IDLE_SECONDS = 20
"""After which a silent connection is closed."""
STOP_SECONDS = 2
"""That answers being sent get when the worker stops."""
HEADER_BYTES = 16 * 1024


@contextmanager
def snapshot_served(
    settings: Callable[[], Settings], changed: queue.SimpleQueue[str] | None = None
) -> Iterator[str | None]:
    """Serve a snapshot that is renewed as long as the block lasts; yields None where it fails."""
    try:
        snapshot = Snapshot(settings, changed=changed)
        application = Application(snapshot, settings)
    except Exception:  # no error of the page may stop the runs
        log.exception("status page not served")
        yield None
        return
    with snapshot, served(application, settings().web) as address:
        yield address


@contextmanager
def served(application: Application, web: WebSettings) -> Iterator[str | None]:
    """Serve an application for the length of the block; yields its address, None without one."""
    channels: dict[int, Any] = {}
    server = _server(application, web, channels)
    if server is None:
        yield None
        return
    ended = threading.Event()
    thread = threading.Thread(target=_loop, args=(server, channels, ended), name="web", daemon=True)
    thread.start()
    address = url_of(web.address, int(server.effective_port))
    log.info("status page served", url=address)
    if not ipaddress.ip_address(web.address).is_loopback:
        log.warning("status page can be read by every machine that reaches it", address=web.address)
    try:
        yield address
    finally:
        # Nothing is closed while another thread may use it: descriptors are used again by others.
        ended.set()
        server.pull_trigger()
        thread.join()
        server.task_dispatcher.shutdown(timeout=STOP_SECONDS)
        wasyncore.close_all(channels, ignore_all=True)


def _loop(server: Any, channels: dict[int, Any], ended: threading.Event) -> None:
    """Do what `server.run` does, until it is ended from outside, which that does not provide."""
    while not ended.is_set():
        wasyncore.loop(
            timeout=server.adj.asyncore_loop_timeout,
            map=channels,
            use_poll=server.adj.asyncore_use_poll,
            count=1,
        )


def url_of(address: str, port: int) -> str:
    """Return the page's address."""
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}/"


def _server(application: Application, web: WebSettings, channels: dict[int, Any]) -> Any:
    """Return a server that listens, with its channels in `channels`; None where it cannot."""
    try:
        return Server(
            application,
            map=channels,
            host=web.address,
            port=web.port,
            threads=THREADS,
            # Ours is lower, and closes what waits; this one would not accept a probe any more.
            connection_limit=2 * CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=1,
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

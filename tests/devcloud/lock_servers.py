"""Real lock servers on loopback, and a wire to them that can be cut."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.devcloud import processes
from tests.devcloud.places import DevcloudError

START_SECONDS = 60.0
CHUNK = 65536
ZOOKEEPER_CLASSES = "/usr/share/java/zookeeper.jar"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True, kw_only=True)
class LockServer:
    """A running server."""

    port: int
    url_form: str
    """What tooz calls it, with a place for host and port."""

    def url(self, port: int | None = None) -> str:
        """Its address, or that of a wire to it."""
        return self.url_form.format(f"127.0.0.1:{port or self.port}")


@contextmanager
def redis(directory: Path) -> Iterator[LockServer]:
    """Run a Redis that keeps nothing on the disk."""
    (port,) = _free_ports(1)
    argv = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", directory]
    with _served(argv, directory, port):
        yield LockServer(port=port, url_form="redis://{}")


@contextmanager
def etcd(directory: Path) -> Iterator[LockServer]:
    """Run a cluster of one etcd."""
    port, peers = _free_ports(2)
    clients = f"http://127.0.0.1:{port}"
    argv = [
        "etcd", "--data-dir", directory / "data",
        "--listen-client-urls", clients, "--advertise-client-urls", clients,
        "--listen-peer-urls", f"http://127.0.0.1:{peers}",
        "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers}",
        "--initial-cluster", f"default=http://127.0.0.1:{peers}",
    ]  # fmt: skip
    with _served(argv, directory, port):
        yield LockServer(port=port, url_form="etcd3+http://{}")


@contextmanager
def zookeeper(directory: Path) -> Iterator[LockServer]:
    """Run a single ZooKeeper, with sessions as short as tests want them."""
    (port,) = _free_ports(1)
    config = directory / "zoo.cfg"
    lines = {
        "dataDir": directory / "data",
        "clientPort": port,
        "clientPortAddress": "127.0.0.1",
        "tickTime": 500,
        "admin.enableServer": "false",
    }
    config.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    classes = f"{directory}:{ZOOKEEPER_CLASSES}"
    argv = [
        "java", "-Xmx128m", "-cp", classes, "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        config,
    ]  # fmt: skip
    with _served(argv, directory, port):
        yield LockServer(port=port, url_form="zookeeper://{}")


@contextmanager
def _served(argv: list[object], directory: Path, port: int) -> Iterator[None]:
    pid_file, log_file = directory / "pid", directory / "log"
    processes.start(
        [str(word) for word in argv],
        pid_file=pid_file,
        log_file=log_file,
        env=ENVIRONMENT,
        tied=True,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            if not processes.is_running(pid_file) or time.monotonic() > deadline:
                raise DevcloudError(f"{argv[0]} does not start: {log_file.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        processes.stop(pid_file)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        listeners = [held.enter_context(processes.listen(None)) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]


@dataclass
class Wire:
    """A way to a server that leads through us: when it is cut, nothing passes, and nobody is told.

    That is what a network partition looks like from both of its ends.
    """

    to_port: int
    cut: bool = False
    _listener: socket.socket = field(init=False)
    _ends: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Listen."""
        self._listener = processes.listen(None)
        self._in_background(self._accept)

    @property
    def port(self) -> int:
        """Where to connect to."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Drop every connection."""
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                return
            self._ends += [near, far]
            self._in_background(partial(self._carry, near, far))
            self._in_background(partial(self._carry, far, near))

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                while self.cut:
                    time.sleep(0.05)
                sink.sendall(data)
            while self.cut:
                time.sleep(0.05)
            sink.shutdown(socket.SHUT_WR)

    def _in_background(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()


@contextmanager
def wire(server: LockServer) -> Iterator[Wire]:
    """Connect to a server by way of a wire for the length of the block."""
    made = Wire(to_port=server.port)
    try:
        yield made
    finally:
        made.cut = False
        made.close()

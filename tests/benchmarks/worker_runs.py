"""What the worker keeps of its runs: memory, file descriptors and threads over a thousand of them.

`python -m tests.benchmarks.worker_runs [RUNS]`. The runs are as short as can be: what is measured
is the worker. It prints a line every tenth of the way.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.worker_site import Site

WORKER = """
import sys
from pathlib import Path
from retrofit.console import configure_logging
from scheduler.sd_notify import Notifier
from scheduler.worker import Worker
configure_logging(verbose=False)
sys.exit(Worker(Path(sys.argv[1]), notifier=Notifier(None), command=("/bin/echo",)).run())
"""


def standing(pid: int) -> str:
    """Describe what a process holds."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    memory, threads = status["VmRSS"].split()[0], status["Threads"].strip()
    return f"{int(memory) / 1024:.1f} MiB resident, {files} file descriptors, {threads} threads"


def main(runs: int) -> None:
    """Have a worker go through `runs` runs, each asked for when the one before has ended."""
    with tempfile.TemporaryDirectory() as directory:
        site = Site(
            root=Path(directory) / "machine",
            config={"schedule": {"interval": 86400}},
            builds=Path(directory) / "builds",
            command=(sys.executable, "-c", WORKER),
        )
        with site.worker() as worker:
            begun = time.monotonic()
            for number in range(1, runs + 1):
                asked = time.monotonic()
                while worker.log.read_bytes().count(b'"run-once ended"') < number:
                    time.sleep(0.005)
                    if time.monotonic() - asked > 5:  # came while the one before was not over
                        worker.send(signal.SIGUSR1)
                        asked = time.monotonic()
                if number == 1 or number % max(runs // 10, 1) == 0:
                    seconds = time.monotonic() - begun
                    print(f"{number:5} runs, {seconds:4.0f} s: {standing(worker.process.pid)}")
                worker.send(signal.SIGUSR1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)

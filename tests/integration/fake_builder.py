"""A builder and a verifier that do no work: what is tested is who asks them, and for what."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retrofit.model import BuiltImage, Check, Outcome, Verdict


class Workshop:
    """Records what it was asked, makes small images, and fails when told to."""

    def __init__(self, make_image: Callable[[Path], Path]) -> None:
        self.make_image = make_image
        self.built: list[dict[str, Any]] = []
        self.verified: list[Path] = []
        self.build_error: BaseException | None = None
        self.failing_check: str | None = None
        self._last_done = 0.0

    def build(self, source: Path, **asked: Any) -> BuiltImage:
        assert source.stat().st_size > 0
        self.built.append({"source": source, **asked})
        if self.build_error is not None:
            raise self.build_error
        # No real build takes less than a second, and Glance tells ages in whole seconds: of two
        # images of one second, Octavia's choice is as good as drawn by lot.
        time.sleep(max(0.0, self._last_done + 1.3 - time.monotonic()))
        self._last_done = time.monotonic()
        asked["work_dir"].mkdir(parents=True)
        path = self.make_image(asked["work_dir"] / "amphora.qcow2")
        data = path.read_bytes()
        return BuiltImage(
            path=path,
            disk_format="qcow2",
            size=len(data),
            virtual_size=8 << 20,
            min_disk=3,
            sha512=hashlib.sha512(data).hexdigest(),
        )

    def verify(self, path: Path, **asked: Any) -> Verdict:
        self.verified.append(path)
        checks = [Check(name="haproxy", outcome=Outcome.PASSED, detail="2.8")]
        if self.failing_check:
            failed = Check(name=self.failing_check, outcome=Outcome.FAILED, detail="not there")
            checks.append(failed)
        return Verdict(checks=tuple(checks), how="offline", facts={"haproxy_version": "2.8.5"})

"""A builder and a verifier that do no work: what is tested is who asks them, and for what."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from retrofit.archive.evidence import Evidence
from retrofit.build.request import BuildRequest
from retrofit.model import BuiltImage, Verdict
from retrofit.verify.request import VerifyRequest
from tests.built import built_image, verdict_at


class FakeBuilder:
    """Records what it was asked, makes small images, and fails when told to."""

    def __init__(self, make_image: Callable[[Path], Path]) -> None:
        self.make_image = make_image
        self.built: list[BuildRequest] = []
        self.verified: list[Path] = []
        self.build_error: BaseException | None = None
        self.failing_check: str | None = None
        self.evidence: Evidence | None = None
        """Of the images' packages; they have none by default."""
        self._last_done = 0.0

    def build(self, request: BuildRequest) -> BuiltImage:
        assert request.source.stat().st_size > 0
        self.built.append(request)
        if self.build_error is not None:
            raise self.build_error
        # No real build takes less than a second, and Glance tells ages in whole seconds: of two
        # images of one second, Octavia's choice is as good as drawn by lot.
        time.sleep(max(0.0, self._last_done + 1.3 - time.monotonic()))
        self._last_done = time.monotonic()
        request.work_dir.mkdir(parents=True)
        path = self.make_image(request.work_dir / "amphora.qcow2")
        evidence = self._evidence(request.work_dir / "evidence.tar")
        return built_image(path, virtual_size=8 << 20, evidence=evidence)

    def _evidence(self, path: Path) -> Path | None:
        """Write what elements leave of an image's packages."""
        if self.evidence is None:
            return None
        with tarfile.open(path, "w") as archive:
            for name, content in self.evidence.files.items():
                member = tarfile.TarInfo(f"./{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    def verify(self, request: VerifyRequest) -> Verdict:
        self.verified.append(request.image)
        return verdict_at(request.settings.level, failing_check=self.failing_check)

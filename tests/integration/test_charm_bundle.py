"""The resource of the charm, made and installed for real: nothing is a double."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrofit import __version__

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "charm" / "src"))

from retrofit_workload import Bundle, Workload, WorkloadError  # noqa: E402

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.mark.slow
def test_bundle_installs_without_any_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Path(sys.executable).parent
    file = tmp_path / "bundle.tar.gz"
    env = {**os.environ, "PATH": f"{own}:{os.environ['PATH']}", "PYTHON_VERSION": PYTHON}
    subprocess.run([ROOT / "charm" / "make-bundle.sh", file], env=env, check=True)
    # What follows could not reach an index if it tried to.
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").symlink_to(Path(sys.base_prefix) / "bin" / f"python{PYTHON}")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    workload = Workload(root=tmp_path / "root")
    bundle = Bundle(file=file)
    workload.install(bundle)
    assert workload.is_current(bundle)
    assert workload.version() == __version__
    workload.put_units_in_place()
    unit = (workload.root / "etc/systemd/system/retrofit.service").read_text()
    assert f"ExecStart={workload.current.resolve()}/bin/retrofit run-once" in unit
    workload.write_config('[source]\nseries = ["jammy"]\n')
    with pytest.raises(WorkloadError, match=r"^the options cannot be used: .*'nobel'"):
        workload.write_config('[source]\nseries = ["nobel"]\n')
    assert "jammy" in workload.config.read_text()
    assert workload.act("status") == 2  # there is no Juju to tell
    workload.remove()
    left = [path for path in workload.root.rglob("*") if not path.is_dir()]
    assert left == []

"""Look-alikes of Ubuntu's stock images, each made once per checkout."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tests.devcloud.files import place
from tests.devcloud.places import CACHE, HERE, DevcloudError, digest_of, locked

Layout = Literal["jammy", "noble"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
SUITES: dict[Layout, str] = {"jammy": "bookworm", "noble": "trixie"}

RECIPE = HERE / "stock-image.sh"
MAKE_SECONDS = 1800.0
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MMDEBSTRAP = Path("/usr/bin/mmdebstrap")


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Where Debian's packages come from on this machine."""

    main: str
    security: str


def make(
    layout: Layout, *, cache: Path = CACHE / "stock", tell: Callable[[str], None] = lambda _: None
) -> Path:
    """Return the stock image of a layout, made now unless the cache has it.

    Its package list lies beside it, named `.manifest`. Raises DevcloudError with the end of what
    the recipe printed.
    """
    image = cache / f"{layout}-{digest_of([RECIPE])}.qcow2"
    with locked(cache / f"{layout}.lock"):
        if image.exists():
            tell(f"{image} is already there")
        else:
            # Nobody else works here while we hold the lock: these are of a run that was killed.
            for abandoned in cache.glob(f".stock-{layout}.*"):
                shutil.rmtree(abandoned)
            _run_recipe(layout, image, tell)
            for outdated in cache.glob(f"{layout}-*"):
                if not outdated.name.startswith(image.name):
                    outdated.unlink()
    return image


def copy_to(image: Path, output: Path) -> None:
    """Put an image and its manifest elsewhere, by hard links where possible."""
    place(image, output)
    place(Path(f"{image}.manifest"), Path(f"{output}.manifest"))


def _run_recipe(layout: Layout, image: Path, tell: Callable[[str], None]) -> None:
    root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive", "--preserve-env"]
    with tempfile.TemporaryDirectory() as work:
        sources = Path(work) / "debian.sources"
        sources.write_text(sources_for(SUITES[layout], archive_of_host()))
        options = Path(work) / "apt.conf"
        options.write_text("\n".join(apt_options_of_host()))
        argv = [*root, "bash", RECIPE, layout, sources, options, image]
        with subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        ) as recipe:
            said = []
            try:
                for line in recipe.stdout or ():
                    said.append(line)
                    tell(line.rstrip())
            except BaseException:
                # The recipe undoes its work on TERM, once the program that it runs has ended too.
                os.killpg(recipe.pid, signal.SIGTERM)
                recipe.wait()  # Popen itself waits 0.25 s after a KeyboardInterrupt, and no longer
                raise
    if recipe.returncode != 0:
        raise DevcloudError(f"no source image in {layout}'s layout:\n{''.join(said[-20:])}")


def sources_for(suite: str, archive: Archive) -> str:
    """An apt sources file, deb822, for a suite with its updates and security fixes."""
    stanzas = ((archive.main, f"{suite} {suite}-updates"), (archive.security, f"{suite}-security"))
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n"
        for uri, suites in stanzas
    )


def archive_of_host() -> Archive:
    """The Debian archive that this machine's apt uses, mmdebstrap's own where it uses none.

    apt is asked itself, since it reads both forms of sources and knows which are disabled.
    """
    targets = _printed(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    )  # fmt: skip
    own = defaults_of_mmdebstrap(MMDEBSTRAP.read_text())
    return archive_among((line.split() for line in targets), otherwise=own)


def defaults_of_mmdebstrap(program: str) -> Archive:
    """The archives that mmdebstrap takes for Debian when it is given none.

    An Ubuntu machine's apt knows no Debian archive, and mmdebstrap tells its own to nobody: they
    are read from the program. Raises DevcloudError where they are not found.
    """
    found = {
        name: re.search(rf"my \${name}\s*=\s*'(http[^']+)'", program)
        for name in ("mirror", "secmirror")
    }
    main, security = found["mirror"], found["secmirror"]
    if main is None or security is None:
        raise DevcloudError(
            f"{MMDEBSTRAP} names no Debian archive: add Debian's to this machine's apt sources"
        )
    return Archive(main=main[1], security=security[1])


def archive_among(targets: Iterable[list[str]], *, otherwise: Archive) -> Archive:
    """The Debian archive among (URI, suite, component) of apt's sources."""
    found: dict[str, str] = {}
    for target in targets:
        if len(target) != 3 or target[2] != "main" or not target[0].startswith(("http:", "https:")):
            continue
        uri, suite = target[0].rstrip("/"), target[1]
        if re.fullmatch(r"(buster|bullseye|bookworm|trixie|forky|sid|(old)*stable|testing)", suite):
            found.setdefault("main", uri)
        elif re.fullmatch(r"(bullseye|bookworm|trixie|forky|(old)*stable|testing)-security", suite):
            found.setdefault("security", uri)
    if "main" not in found:
        return otherwise
    return Archive(main=found["main"], security=found.get("security", otherwise.security))


def apt_options_of_host() -> list[str]:
    """What this machine's apt needs to reach its archives: proxies, certificates."""
    return [
        line
        for line in _printed("apt-config", "dump", "--no-empty")
        if line.startswith(("Acquire::http", "Acquire::https"))
    ]


def _printed(*argv: str) -> list[str]:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise DevcloudError(f"{argv[0]} failed: {done.stderr.strip()}")
    return done.stdout.splitlines()

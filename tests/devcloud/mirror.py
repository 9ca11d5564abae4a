"""A small simplestreams mirror, named, laid out and signed as Ubuntu's are."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import lzma
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from tests.answering import answering
from tests.devcloud import files
from tests.devcloud.places import DevcloudError
from tests.devcloud.signing import Signer

Stream = Literal["released", "daily"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """What Ubuntu's streams say about a release."""

    release: str
    version: str
    codename: str
    title: str
    support_eol: str
    aliases: str


SERIES = {
    series.release: series
    for series in (
        Series(
            release="jammy",
            version="22.04",
            codename="Jammy Jellyfish",
            title="22.04 LTS",
            support_eol="2027-06-01",
            aliases="22.04,j,jammy",
        ),
        Series(
            release="noble",
            version="24.04",
            codename="Noble Numbat",
            title="24.04 LTS",
            support_eol="2029-05-31",
            aliases="24.04,default,lts,n,noble",
        ),
        Series(
            release="resolute",
            version="26.04",
            codename="Resolute Raccoon",
            title="26.04 LTS",
            support_eol="2031-05-29",
            aliases="26.04,r,resolute",
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A mirror's directory; everything in it may be served."""

    root: Path

    @property
    def keyring(self) -> Path:
        """The public key that signs the mirror, as gpgv takes it."""
        return self.root / "keyring.gpg"

    def publish(
        self,
        image: Path,
        *,
        series: str,
        serial: str,
        stream: Stream = "released",
        arch: str = "amd64",
        touch: bool = False,
    ) -> str:
        """Add a version with `image` as its disk1.img, and return the product's name.

        `touch` gives the version a digest of its own, for one image under several serials.
        """
        facts = _series(series)
        tree = {"released": f"server/releases/{series}/release-{serial}"}.get(
            stream, f"server/{series}/{serial}"
        )
        stem = f"ubuntu-{facts.version}-server-cloudimg-{arch}"
        directory = self.root / tree
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        disk = directory / f"{stem}.img"
        if touch:
            files.copy(image, disk)
            files.touch(disk, f"{series} {stream} {serial}")
        else:
            files.place(image, disk)
        manifest = Path(f"{image}.manifest")
        listed = manifest.read_bytes() if manifest.exists() else b"cloud-init\t24.4\n"
        (directory / f"{stem}.manifest").write_bytes(listed)
        _write_containers(directory, stem, f"{series} {serial} {arch}")
        product = _product_name(stream, facts.version, arch)
        self._add(stream, product, facts, arch, serial, _items(self.root, directory, stem))
        return product

    def withdraw(self, *, series: str, serial: str, stream: Stream = "released") -> None:
        """Take a serial out of the streams again, as Ubuntu does with old ones."""
        content = self._content(stream)
        facts = _series(series)
        for product in content["products"].values():
            if (
                product["version"] == facts.version
                and product["versions"].pop(serial, None) is None
            ):
                raise DevcloudError(f"{self.root} has no {series} {serial} in {stream}")
        self._write(content)

    def _add(
        self,
        stream: Stream,
        name: str,
        facts: Series,
        arch: str,
        serial: str,
        items: dict[str, dict[str, Any]],
    ) -> None:
        content = self._content(stream)
        product = content["products"].setdefault(
            name,
            {
                "aliases": facts.aliases,
                "arch": arch,
                "os": "ubuntu",
                "release": facts.release,
                "release_codename": facts.codename,
                "release_title": facts.title,
                "support_eol": facts.support_eol,
                "supported": True,
                "version": facts.version,
                "versions": {},
            },
        )
        product["versions"][serial] = {
            "items": items,
            "label": "release" if stream == "released" else "daily",
            "pubname": f"ubuntu-{facts.release}-{facts.version}-{arch}-server-{serial}"
            if stream == "released"
            else f"ubuntu-{facts.release}-daily-{arch}-server-{serial}",
        }
        self._write(content)

    def _content(self, stream: Stream) -> dict[str, Any]:
        """The products file of a stream, an empty one where there is none yet."""
        content_id = f"com.ubuntu.cloud:{stream}:download"
        path = self.root / "streams" / "v1" / f"{content_id}.json"
        if path.exists():
            known: dict[str, Any] = json.loads(path.read_text())
            return known
        return {
            "content_id": content_id,
            "datatype": "image-downloads",
            "format": "products:1.0",
            "license": "http://www.canonical.com/intellectual-property-policy",
            "products": {},
        }

    def _write(self, content: dict[str, Any]) -> None:
        """Write a stream and the index of all, plain and signed, each in one step."""
        signer = Signer(
            secret=self.root.with_name(f"{self.root.name}.key.asc"), keyring=self.keyring
        )
        signer.ensure_key()
        now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
        streams = self.root / "streams" / "v1"
        streams.mkdir(parents=True, exist_ok=True)
        own = content["content_id"]
        path = f"streams/v1/{own}"
        index = {"format": "index:1.0", "index": {}}
        if (streams / "index.json").exists():
            index = json.loads((streams / "index.json").read_text())
        content["updated"] = index["updated"] = now
        index["index"][own] = {  # type: ignore[index]
            "datatype": "image-downloads",
            "format": "products:1.0",
            "path": f"{path}.json",
            "products": sorted(content["products"]),
            "updated": now,
        }
        signed_index = json.loads(json.dumps(index).replace('.json"', '.sjson"'))
        texts = [_json(content), _json(signed_index)]
        signed = signer.clear_sign(texts)
        written = {
            f"{own}.json": texts[0],
            f"{own}.sjson": signed[0],
            "index.json": _json(index),
            "index.sjson": signed[1],
        }
        for name, text in written.items():
            _replace(streams / name, text)


@contextmanager
def served(mirror: Mirror) -> Iterator[str]:
    """Serve a mirror over HTTP on loopback for the length of the block; the value is its URL."""
    handler = functools.partial(_QuietHandler, directory=str(mirror.root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, answering(server):
        yield f"http://127.0.0.1:{server.server_port}/"


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _series(name: str) -> Series:
    try:
        return SERIES[name]
    except KeyError:
        raise DevcloudError(f"unknown series {name!r}: known are {', '.join(SERIES)}") from None


def _product_name(stream: Stream, version: str, arch: str) -> str:
    prefix = "com.ubuntu.cloud" if stream == "released" else "com.ubuntu.cloud.daily"
    return f"{prefix}:server:{version}:{arch}"


def _write_containers(directory: Path, stem: str, content: str) -> None:
    """Write the items for containers that every version has beside its disk image."""
    (directory / f"{stem}.squashfs").write_bytes(b"hsqs" + content.encode() * 64)
    with lzma.open(directory / f"{stem}-root.tar.xz", "wb") as packed:
        packed.write(_tar({"etc/hostname": content.encode()}))
    with lzma.open(directory / f"{stem}-lxd.tar.xz", "wb") as packed:
        packed.write(_tar({"metadata.yaml": f"properties: {{serial: {content}}}\n".encode()}))


def _tar(members: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, BytesIO(data))
    return buffer.getvalue()


def _items(root: Path, directory: Path, stem: str) -> dict[str, dict[str, Any]]:
    """What the streams say about each file of a version."""
    names = {
        "disk1.img": f"{stem}.img",
        "manifest": f"{stem}.manifest",
        "squashfs": f"{stem}.squashfs",
        "root.tar.xz": f"{stem}-root.tar.xz",
        "lxd.tar.xz": f"{stem}-lxd.tar.xz",
    }
    items = {
        ftype: {
            "ftype": ftype,
            "md5": _digest("md5", directory / name),
            "path": str((directory / name).relative_to(root)),
            "sha256": _digest("sha256", directory / name),
            "size": (directory / name).stat().st_size,
        }
        for ftype, name in names.items()
    }
    metadata = directory / names["lxd.tar.xz"]
    items["lxd.tar.xz"] |= {
        "combined_rootxz_sha256": _digest("sha256", metadata, directory / names["root.tar.xz"]),
        "combined_squashfs_sha256": _digest("sha256", metadata, directory / names["squashfs"]),
    }
    return items


def _digest(algorithm: str, *parts: Path) -> str:
    digest = hashlib.new(algorithm)
    for part in parts:
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)

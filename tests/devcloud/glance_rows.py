"""What no client may change in Glance, changed in its database: ages, hashes, thousands of rows."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class GlanceRows:
    """The database of a development cloud's Glance, which may be running."""

    state: Path
    """The cloud's state directory."""

    def set_created(self, image_id: str, when: datetime) -> None:
        """Have an image registered at another time than it was."""
        self._change("UPDATE images SET created_at = ? WHERE id = ?", _stored(when), image_id)

    def created(self, image_id: str) -> datetime:
        """When an image was registered."""
        with self._writing() as database:
            (when,) = database.execute(
                "SELECT created_at FROM images WHERE id = ?", (image_id,)
            ).fetchone()
        return datetime.fromisoformat(when).replace(tzinfo=UTC)

    def set_hash(self, image_id: str, value: str) -> None:
        """Have Glance say another hash, as for bytes that were replaced behind its back."""
        self._change("UPDATE images SET os_hash_value = ? WHERE id = ?", value, image_id)

    def _change(self, statement: str, *values: object) -> None:
        with self._writing() as database:
            assert database.execute(statement, values).rowcount == 1

    def add_images(
        self, count: int, *, owner: str, properties: Mapping[str, str], tags: tuple[str, ...] = ()
    ) -> list[str]:
        """Register active images without data, all alike, and return their ids."""
        now = _stored(datetime.now(UTC))
        ids = [str(uuid.uuid4()) for _ in range(count)]
        with self._writing() as database:
            database.executemany(
                "INSERT INTO images (id, name, size, status, created_at, updated_at, deleted,"
                " disk_format, container_format, checksum, owner, min_disk, min_ram, protected,"
                " visibility, os_hidden, os_hash_algo, os_hash_value)"
                " VALUES (?, ?, 1, 'active', ?, ?, 0, 'qcow2', 'bare', ?, ?, 0, 0, 0, 'private', 0,"
                " 'sha512', ?)",
                [(each, f"image {each}", now, now, "0" * 32, owner, "0" * 128) for each in ids],
            )
            database.executemany(
                "INSERT INTO image_properties (image_id, name, value, created_at, updated_at,"
                " deleted) VALUES (?, ?, ?, ?, ?, 0)",
                [(each, *pair, now, now) for each in ids for pair in properties.items()],
            )
            database.executemany(
                "INSERT INTO image_tags (image_id, value, created_at, updated_at, deleted)"
                " VALUES (?, ?, ?, ?, 0)",
                [(each, tag, now, now) for each in ids for tag in tags],
            )
        return ids

    def remove_images(self, ids: list[str]) -> None:
        """Take images away with their bytes: quicker than by the API, one by one."""
        rows = [(each,) for each in ids]
        with self._writing() as database:
            for table in ("image_properties", "image_tags", "image_members", "image_locations"):
                database.executemany(f"DELETE FROM {table} WHERE image_id = ?", rows)  # noqa: S608
            database.executemany("DELETE FROM images WHERE id = ?", rows)
        for each in ids:
            (self.state / "glance" / "images" / each).unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Leave no image, whoever owns it."""
        with self._writing() as database:
            ids = [each for (each,) in database.execute("SELECT id FROM images")]
        self.remove_images(ids)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.state / "glance" / "glance.db", timeout=30)
        try:
            with database:
                yield database
        finally:
            database.close()


def _stored(when: datetime) -> str:
    """Write a time as SQLAlchemy stores it in SQLite."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.000000")

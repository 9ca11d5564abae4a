"""systemd's unit files as they lie on a disk (systemd.unit(5)), read without running anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from retrofit.verify.tree import Tree

DIRECTORIES = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""Those that an image has, the one that wins first."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit with its drop-ins merged: section -> key -> values in order."""

    name: str
    path: str
    masked: bool = False
    settings: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def values(self, section: str, key: str) -> tuple[str, ...]:
        """Return all values of a setting; a list that was reset by an empty one starts over."""
        return self.settings.get(section, {}).get(key, ())

    def value(self, section: str, key: str) -> str | None:
        """Return the last value of a setting; None when it has none."""
        values = self.values(section, key)
        return values[-1] if values else None

    def words(self, section: str, key: str) -> frozenset[str]:
        """Return the values of a setting that lists unit names."""
        return frozenset(word for value in self.values(section, key) for word in value.split())


def find(tree: Tree, name: str) -> Unit | None:
    """Read a unit and its drop-ins; None when the image has none of that name."""
    for directory in DIRECTORIES:
        path = f"{directory}/{name}"
        target = tree.link_target(path)
        if target == "/dev/null":
            return Unit(name=name, path=path, masked=True)
        text = tree.text(path)
        if text is None:
            continue
        if not text.strip():
            return Unit(name=name, path=path, masked=True)
        texts = [text, *_drop_ins(tree, name)]
        return Unit(name=name, path=path, settings=parse(texts))
    return None


def _drop_ins(tree: Tree, name: str) -> list[str]:
    """Return the drop-ins in the order in which they apply; of equal names the first wins."""
    chosen: dict[str, str] = {}
    for directory in DIRECTORIES:
        for path in tree.glob(f"{directory}/{name}.d", "*.conf"):
            chosen.setdefault(path.rpartition("/")[2], path)
    return [tree.text(chosen[file]) or "" for file in sorted(chosen)]


def parse(texts: list[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Merge unit files in order: a later value is added, an empty one clears the list."""
    # Lists, while they grow: a tuple would be copied for each of a million lines.
    settings: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        section = ""
        for line in text.replace("\\\n", " ").splitlines():
            stripped = line.strip()
            if not stripped or stripped[0] in "#;":
                continue
            if stripped.startswith("[") and stripped.endswith("]"):
                section = stripped[1:-1]
                continue
            key, equals, value = stripped.partition("=")
            if not equals:
                continue
            values = settings.setdefault(section, {})
            if value.strip():
                values.setdefault(key.strip(), []).append(value.strip())
            else:
                values[key.strip()] = []
    return {
        section: {key: tuple(listed) for key, listed in values.items()}
        for section, values in settings.items()
    }


def wanted_by(tree: Tree, name: str) -> frozenset[str]:
    """Return the units whose `.wants` or `.requires` directory pulls this one in."""
    found = set()
    for directory in DIRECTORIES:
        for kind in (".wants", ".requires"):
            for entry in tree.glob(directory, f"*{kind}"):
                if tree.entry(f"{entry}/{name}") is not None:
                    found.add(entry.rpartition("/")[2].removesuffix(kind))
    return frozenset(found)


def is_enabled(tree: Tree, name: str) -> bool:
    """Return True if a boot starts the unit: it is there, not masked, and something pulls it in."""
    unit = find(tree, name)
    return unit is not None and not unit.masked and bool(wanted_by(tree, name))

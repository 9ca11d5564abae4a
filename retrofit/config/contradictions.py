"""What targets of one configuration must not share: tags and names, present and former ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from retrofit.config.settings import Target


def contradictions(targets: Iterable[Target]) -> Iterator[str]:
    """Report what would make two targets take each other's images for their own."""
    groups: dict[tuple[object, ...], list[Target]] = {}
    for target in targets:
        cloud = target.cloud
        groups.setdefault((cloud.name, cloud.clouds_yaml, cloud.region), []).append(target)
    for together in groups.values():
        yield from _same_tag(together)
        yield from _former_tags(together)
        yield from _former_names(together)


def _same_tag(targets: Iterable[Target]) -> Iterator[str]:
    """Report targets that share a tag: each run would demote the other's image."""
    holders: dict[str, Target] = {}
    for target in targets:
        tag = target.publish.tag
        # Without regard to case, as databases of Glance compare tags.
        first = holders.setdefault(tag.casefold(), target)
        if first is not target:
            yield (
                f"target.{target.name}.publish.tag: {tag!r} is the tag of target {first.name} in"
                " the same cloud and region: Octavia uses one image per tag, give each its own"
            )


def _former_tags(targets: list[Target]) -> Iterator[str]:
    present = {target.publish.tag.casefold(): target for target in targets}
    for target in targets:
        key = f"target.{target.name}.publish.former_tags"
        for tag in target.publish.former_tags:
            if (holder := present.get(tag.casefold())) is not None:
                yield (
                    f"{key}: {tag!r} is the present tag of target {holder.name}: a former tag is"
                    " one that no target has any more"
                )
    yield from _twice(
        targets, lambda target: target.publish.former_tags, key="publish.former_tags", noun="tag"
    )


def _former_names(targets: list[Target]) -> Iterator[str]:
    present = {target.name for target in targets}
    for target in targets:
        for name in target.formerly:
            if name in present:
                yield (
                    f"target.{target.name}.formerly: {name!r} is a present target: a former name"
                    " is one that no target has any more"
                )
    yield from _twice(targets, lambda target: target.formerly, key="formerly", noun="target")


def _twice(
    targets: list[Target], former: Callable[[Target], tuple[str, ...]], *, key: str, noun: str
) -> Iterator[str]:
    """Report former names that two targets claim: the images can go to one of them only."""
    holders: dict[str, Target] = {}
    for target in targets:
        for name in dict.fromkeys(former(target)):
            first = holders.setdefault(name.casefold(), target)
            if first is not target:
                yield (
                    f"target.{target.name}.{key}: {name!r} is in the list of target {first.name}"
                    f" too: the images of that {noun} can be carried over to one target only"
                )

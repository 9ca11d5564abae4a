"""Whether a source is behind the one that an image was built from; pure."""

from __future__ import annotations

from retrofit.config import SourceSettings
from retrofit.model import SERIES_RELEASES, Image, Product, Source, version_key
from retrofit.source.choose import refused_product


def step_back(source: Source, image: Image, settings: SourceSettings) -> str | None:
    """Return why `source` is behind the source of `image`, as a clause; None when it is not.

    Behind is an older version, and a less preferred series, stream or variant. A product that the
    settings no longer allow, and a source that `source.image` names, are a person's decision: they
    are never behind. Versions of two series are not compared.
    """
    name, version = image.property("source_product_name"), image.property("source_version_name")
    here, there = version_key(source.version), version_key(version or "")
    older = f"{source.version} is older than {version}"
    if name == source.product:
        return older if here < there else None
    ours, theirs = Product.parse(source.product), Product.parse(name or "")
    if ours is None or theirs is None or settings.image is not None:
        return None
    if name is None or refused_product(theirs, name, settings) is not None:
        return None
    series = [SERIES_RELEASES[each] for each in settings.series]
    if ours.release != theirs.release:
        if series.index(ours.release) > series.index(theirs.release):
            return f"release {theirs.release} is preferred to {ours.release} (source.series)"
        return None
    if here != there:
        return older if here < there else None
    if settings.variants.index(ours.variant) > settings.variants.index(theirs.variant):
        return f"variant {theirs.variant} is preferred to {ours.variant} (source.variants)"
    if ours.variant == theirs.variant and theirs.stream == "released" != ours.stream:
        return f"stream {theirs.stream} is preferred to {ours.stream}"
    return None

"""Choose the source image of a build; pure. Every refusal has its reason.

The same rules choose among images of Glance and items of a mirror.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from retrofit.config import SourceSettings
from retrofit.errors import SourceError
from retrofit.model import (
    DEBIAN_ARCHITECTURES,
    DISK_ITEMS,
    SERIES_RELEASES,
    Image,
    Listing,
    Product,
    Rejection,
    Source,
    StreamItem,
    version_key,
)

DISK_FORMATS = frozenset({"qcow2", "raw"})
CUSTOM_PRODUCT = "custom"
WIDEN = "or widen source.series, source.stream, source.variants or source.owners"


@dataclass(frozen=True, kw_only=True)
class SourceChoice:
    """The source image of a build, and the images that were rejected.

    `wanted` describes what was looked for, `error` is the reason why nothing could be looked at,
    and `hint` is the way out when there is no source. `candidates` are all usable images of
    Glance, the best first, by their properties alone: whether their bytes can be vouched for is
    `vouched`'s question.
    """

    source: Source | None
    rejected: tuple[Rejection, ...]
    wanted: str
    error: SourceError | None = None
    candidates: tuple[Source, ...] = ()
    hint: str = f"let the simplestreams synchroniser fetch one of these series, {WIDEN}"

    def refusal(self) -> SourceError:
        """Return the error for a choice without source: what was looked for, and what exists."""
        if self.error is not None:
            return self.error
        seen = "".join(f"\n  {no.subject}: {no.reason}" for no in self.rejected[:20])
        more = len(self.rejected) - 20
        seen += f"\n  and {more} more" if more > 0 else ""
        return SourceError(
            f"no usable source image: looked for {self.wanted}"
            + (f"; found{seen}" if seen else "; found no Ubuntu image"),
            hint=self.hint,
        )


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """A usable source, and the facts that order it."""

    source: Source
    product: Product
    item: str
    registered: float

    def preference(self, settings: SourceSettings) -> tuple[object, ...]:
        """Return a unique sort key, greatest is best: the order of a listing never matters."""
        series = [SERIES_RELEASES[name] for name in settings.series].index(self.product.release)
        return (
            -series,
            version_key(self.source.version),
            -settings.variants.index(self.product.variant),
            -DISK_ITEMS.index(self.item),
            # One version in two streams: in Glance the order of registration would decide, and a
            # mirror has none.
            self.product.stream == "released",
            # The synchroniser registers a version once; what came later is a copy of it.
            -self.registered,
            self.source.id,
        )


def choose_source(
    images: Iterable[Image], settings: SourceSettings, *, own_project: str
) -> SourceChoice:
    """Pick the best source among `images` by the order: series, version, variant, item, stream.

    The order and the traps behind each refusal are those of the synchroniser: an image is active
    before it has its properties, versions compare as numbers, one version has several items, and
    any tenant can set any property.
    """
    trusted = {own_project, *settings.owners}
    rejected: list[Rejection] = []
    candidates: list[_Candidate] = []
    for image in images:
        if settings.image is not None:
            if image.id == settings.image:
                return _explicit(image, settings)
            continue
        verdict = _examine_image(image, settings, trusted)
        if isinstance(verdict, str):
            rejected.append(
                Rejection(subject=f"{image.name or 'unnamed'} ({image.id})", reason=verdict)
            )
        else:
            candidates.append(verdict)
    return _best(candidates, rejected, settings)


def choose_item(listing: Listing, settings: SourceSettings) -> SourceChoice:
    """Pick the best source among a mirror's items, by the same order as in Glance."""
    rejected = set(listing.refused)
    candidates: list[_Candidate] = []
    for item in listing.items:
        product = Product.parse(item.product)
        refused = refused_product(product, item.product, settings)
        if product is None or refused is not None:
            # Once a product, not once for each of its versions: mirrors have many.
            reason = refused or "it is incomplete"
            rejected.add(Rejection(subject=item.product, reason=reason))
        else:
            candidates.append(_candidate_of(item, product, settings))
    choice = _best(candidates, rejected, settings)
    return SourceChoice(
        source=choice.source,
        rejected=choice.rejected,
        wanted=f"{choice.wanted}; in {listing.where}",
        hint=f"let the mirror carry one of these series, {WIDEN}",
    )


def _best(
    candidates: list[_Candidate], rejected: Iterable[Rejection], settings: SourceSettings
) -> SourceChoice:
    ordered = sorted(candidates, key=lambda each: each.preference(settings), reverse=True)
    sources = [each.source for each in ordered]
    second_best = [
        Rejection(subject=source.name, reason=f"{_short(sources[0])} is preferred")
        for source in sources[1:]
    ]
    return SourceChoice(
        source=sources[0] if sources else None,
        candidates=tuple(sources) if sources and sources[0].image is not None else (),
        rejected=tuple(sorted((*rejected, *second_best), key=lambda no: (no.subject, no.reason))),
        wanted=_wanted(settings),
    )


def _short(source: Source) -> str:
    return source.image.name if source.image is not None else source.version


def _wanted(settings: SourceSettings) -> str:
    if settings.image is not None:
        return f"image {settings.image}"
    parts = [
        f"series {', '.join(settings.series)}",
        f"architecture {settings.architecture}",
        f"variant {', '.join(settings.variants)}",
    ]
    if settings.stream:
        parts.append(f"stream {settings.stream}")
    return "; ".join(parts)


def _explicit(image: Image, settings: SourceSettings) -> SourceChoice:
    """Accept the image of `source.image`, with or without the synchroniser's properties."""
    refused = _unusable_bytes(image)
    source = None
    if refused is None:
        product = Product.parse(image.property("product_name") or "")
        source = Source(
            image=image,
            product=product.name if product else CUSTOM_PRODUCT,
            version=image.property("version_name") or image.created_at.strftime("%Y%m%d"),
            os_distro=image.property("os_distro") or "ubuntu",
            os_version=image.property("os_version")
            or (product.release if product else SERIES_RELEASES[settings.series[0]]),
            architecture=image.property("architecture") or settings.architecture,
        )
    rejected = (Rejection(subject=f"{image.name} ({image.id})", reason=refused),) if refused else ()
    return SourceChoice(source=source, rejected=rejected, wanted=_wanted(settings))


def _unusable_bytes(image: Image) -> str | None:
    if image.status != "active":
        return f'status is "{image.status}", expected "active"'
    if image.disk_format not in DISK_FORMATS:
        return f"disk format is {image.disk_format}, expected qcow2 or raw"
    return None


def refused_product(product: Product | None, name: str, settings: SourceSettings) -> str | None:
    """Return why a product does not match the settings; None when it does."""
    if product is None:
        return f"product {name} is not an Ubuntu server product"
    if product.architecture != DEBIAN_ARCHITECTURES[settings.architecture]:
        return f"architecture is {product.architecture}"
    if product.release not in [SERIES_RELEASES[series] for series in settings.series]:
        return f"release {product.release} is not in source.series"
    if settings.stream and product.stream != settings.stream:
        return f"stream is {product.stream}"
    if product.variant not in settings.variants:
        return f"variant {product.variant} is not in source.variants"
    return None


def _contradiction(image: Image, settings: SourceSettings) -> str | None:
    """Return why an image's own `architecture` contradicts its product; None when it does not."""
    architecture = image.property("architecture")
    if architecture not in {None, settings.architecture}:
        return f"its property architecture is {architecture}, which contradicts its product"
    return None


def _examine_image(image: Image, settings: SourceSettings, trusted: set[str]) -> _Candidate | str:
    """Return the image as a candidate, or the reason why it cannot be used."""
    name, version = image.property("product_name"), image.property("version_name")
    item = image.property("item_name") or DISK_ITEMS[0]
    product = Product.parse(name) if name else None
    refused: str | None = None
    if image.property("source_product_name") or image.property("retrofit_target"):
        refused = "it is an amphora image"
    elif image.is_snapshot:
        refused = "it is a snapshot of a server"
    elif image.owner not in trusted:
        refused = f"its owner {image.owner} is not trusted (source.owners)"
    elif not name or not version:
        refused = "it has no product_name and version_name (yet)"
    elif image.property("hypervisor_type") == "lxc":
        refused = "it is a container image (hypervisor_type lxc)"
    elif item not in DISK_ITEMS:
        refused = f"item {item} is not a whole disk"
    else:
        refused = (
            refused_product(product, name, settings)
            or _contradiction(image, settings)
            or _unusable_bytes(image)
        )
    if refused is not None or product is None or version is None:
        return refused or "it is incomplete"
    return _Candidate(
        source=Source(
            image=image,
            product=product.name,
            version=version,
            os_distro=image.property("os_distro") or "ubuntu",
            os_version=product.release,
            architecture=settings.architecture,
        ),
        product=product,
        item=item,
        registered=image.created_at.timestamp(),
    )


def _candidate_of(item: StreamItem, product: Product, settings: SourceSettings) -> _Candidate:
    return _Candidate(
        source=Source(
            item=item,
            product=item.product,
            version=item.version,
            os_distro=item.metadata.get("os", "ubuntu"),
            os_version=product.release,
            architecture=settings.architecture,
        ),
        product=product,
        item=item.ftype,
        registered=0.0,
    )

"""Choose the stock image that a build starts from; pure, and every refusal has its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from retrofit.config import SourceSettings
from retrofit.errors import SourceError
from retrofit.model import (
    DEBIAN_ARCHITECTURES,
    SERIES_RELEASES,
    Image,
    Product,
    Rejection,
    Source,
    version_key,
)

DISK_FORMATS = frozenset({"qcow2", "raw"})
# What simplestreams calls the items of one version that are whole disks, the usual one first.
DISK_ITEMS = ("disk1.img", "uefi1.img", "disk-kvm.img")
CUSTOM_PRODUCT = "custom"


@dataclass(frozen=True, kw_only=True)
class SourceChoice:
    """The source that a build would start from, and what was passed over."""

    source: Source | None
    rejected: tuple[Rejection, ...]
    wanted: str

    def refusal(self) -> SourceError:
        """Return the error that says what was looked for and what exists."""
        seen = "".join(f"\n  {no.subject}: {no.reason}" for no in self.rejected[:20])
        more = len(self.rejected) - 20
        seen += f"\n  and {more} more" if more > 0 else ""
        return SourceError(
            f"no usable source image: looked for {self.wanted}"
            + (f"; found{seen}" if seen else "; found no Ubuntu image at all"),
            hint="let the simplestreams synchroniser fetch one of these series, or widen"
            " source.series, source.stream, source.variants or source.owners",
        )


def choose_source(
    images: Iterable[Image], settings: SourceSettings, *, own_project: str
) -> SourceChoice:
    """Pick the best source among `images` by the order: series, version, variant, item, newest.

    The order and the traps behind each refusal are those of the synchroniser: an image is active
    before it has its properties, versions compare as numbers, one version has several items, and
    any tenant can set any property.
    """
    trusted = {own_project, *settings.owners}
    rejected: list[Rejection] = []
    candidates: list[tuple[Source, Product]] = []
    for image in images:
        if settings.image is not None:
            if image.id == settings.image:
                return _explicit(image, settings)
            continue
        verdict = _examine(image, settings, trusted)
        if isinstance(verdict, str):
            rejected.append(
                Rejection(subject=f"{image.name or 'unnamed'} ({image.id})", reason=verdict)
            )
        else:
            candidates.append(verdict)
    candidates.sort(key=lambda pair: _preference(pair[0], pair[1], settings), reverse=True)
    rejected.extend(
        Rejection(
            subject=f"{source.image.name} ({source.image.id})",
            reason=f"{candidates[0][0].image.name} is preferred",
        )
        for source, _ in candidates[1:]
    )
    return SourceChoice(
        source=candidates[0][0] if candidates else None,
        rejected=tuple(sorted(rejected, key=lambda no: no.subject)),
        wanted=_wanted(settings),
    )


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
    """Accept the one image that the operator named, with or without the synchroniser's marks."""
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


def _examine(
    image: Image, settings: SourceSettings, trusted: set[str]
) -> tuple[Source, Product] | str:
    """Return what the image is, or why it cannot be used."""
    name, version = image.property("product_name"), image.property("version_name")
    item = image.property("item_name")
    releases = [SERIES_RELEASES[series] for series in settings.series]
    refused: str | None = None
    product = Product.parse(name) if name else None
    if image.property("source_product_name") or image.property("retrofit_target"):
        refused = "it is an amphora image"
    elif image.owner not in trusted:
        refused = f"its owner {image.owner} is not trusted (source.owners)"
    elif not name or not version:
        refused = "it has no product_name and version_name (yet)"
    elif product is None:
        refused = f"product {name} is not an Ubuntu server product"
    elif image.property("hypervisor_type") == "lxc":
        refused = "it is a container image (hypervisor_type lxc)"
    elif item is not None and item not in DISK_ITEMS:
        refused = f"item {item} is not a whole disk"
    elif product.architecture != DEBIAN_ARCHITECTURES[settings.architecture]:
        refused = f"architecture is {product.architecture}"
    elif product.release not in releases:
        refused = f"release {product.release} is not in source.series"
    elif settings.stream and product.stream != settings.stream:
        refused = f"stream is {product.stream}"
    elif product.variant not in settings.variants:
        refused = f"variant {product.variant} is not in source.variants"
    else:
        refused = _unusable_bytes(image)
    if refused is not None or product is None or version is None:
        return refused or "it is incomplete"
    source = Source(
        image=image,
        product=product.name,
        version=version,
        os_distro=image.property("os_distro") or "ubuntu",
        os_version=product.release,
        architecture=settings.architecture,
    )
    return source, product


def _preference(source: Source, product: Product, settings: SourceSettings) -> tuple[object, ...]:
    """Greatest is best; ends in what is unique, so that the order of a listing never matters."""
    series = [SERIES_RELEASES[name] for name in settings.series].index(product.release)
    item = source.image.property("item_name") or DISK_ITEMS[0]
    return (
        -series,
        version_key(source.version),
        -settings.variants.index(product.variant),
        -DISK_ITEMS.index(item),
        source.image.created_at,
        source.image.id,
    )

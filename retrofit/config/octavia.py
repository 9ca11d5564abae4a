"""Settings of `[octavia]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from retrofit.config.files import AbsolutePath
from retrofit.config.section import Section, Word

RELEASE = r"^(20\d\d\.[12]|\d{1,3}(\.\d{1,4}){1,3})$"
Guard = Literal["refuse", "warn", "ignore"]


class CompatibilitySettings(Section):
    """What a guard does with an image that the control plane cannot work with."""

    version: Guard = Field(
        "refuse",
        description="What an agent lacks that this release of Octavia makes use of: `refuse` to"
        " promote the image where its files show it and a load balancer uses it; `warn`; `ignore`."
        " Agents further apart from the control plane than upgrades are tested are warned of.",
    )
    language: Guard = Field(
        "refuse",
        description="Configurations that this release of Octavia writes and the image's HAProxy or"
        " keepalived refuses: `refuse` to promote the image where the booted image showed it and a"
        " load balancer is of that kind, or Octavia does not answer; `warn`; `ignore`.",
    )
    certificates: Guard = Field(
        "refuse",
        description="The control plane's client certificate and its CA, where the image's agent"
        " refuses them and an older Python does not: `refuse` to promote the image where the"
        " booted agent did; `warn`; `ignore`.",
    )


class OctaviaSettings(Section):
    """How Octavia is queried for the images that its amphorae run on."""

    query: Literal["auto", "require", "never"] = Field(
        "auto",
        description="Whether to query Octavia for the images that amphorae run on: without an"
        " answer, or with `never`, `publish.retire_after_unknown` applies; with `require` nothing"
        " is retired without one, and `retire` and `audit` fail.",
    )
    cloud: Word | None = Field(
        None,
        description="Cloud in clouds.yaml with credentials that may list amphorae. Unset: those"
        " of `[cloud]`.",
    )
    release: Annotated[str, StringConstraints(pattern=RELEASE)] | None = Field(
        None,
        description="Release of Octavia's control plane, such as `2025.1`, or the version of its"
        " package, such as `16.0.1`. Unset: that of the package `octavia` installed on this"
        " machine, else the interval that the API shows.",
    )
    compatibility: CompatibilitySettings = Field(
        default_factory=CompatibilitySettings,
        description="What is done with an image that the control plane cannot work with.",
    )
    config_file: AbsolutePath | None = Field(
        None,
        description="octavia.conf to compare `publish.tag` and the image owner with. Unset:"
        " /etc/octavia/octavia.conf, where it is readable.",
    )
    client_ca: AbsolutePath | None = Field(
        None,
        description="PEM file with the CA of Octavia's client certificate, which amphorae get."
        " Unset: `[controller_worker] client_ca` of octavia.conf, where that is readable.",
    )
    client_cert: AbsolutePath | None = Field(
        None,
        description="PEM file with Octavia's client certificate; of a private key in it nothing is"
        " kept. Unset: `[haproxy_amphora] client_cert` of octavia.conf, where that is readable.",
    )

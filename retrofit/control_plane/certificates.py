"""The certificates that a control plane presents to its amphorae, and which Pythons refuse them.

An agent's TLS is that of its Python: `ssl.create_default_context` sets VERIFY_X509_STRICT from
Python 3.13 on (its release notes). charm-octavia's README and the charm guide make a CA without key
usage, which it refuses; the ways of kolla-ansible and of Octavia's own guide are accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from retrofit.control_plane.language import SERIES

CHECK = "control-plane-certificates"
STRICT_SINCE = (3, 13)
"""First Python that verifies strictly by default."""
ADVICE = (
    "give the CA the extensions basicConstraints=critical,CA:true and"
    " keyUsage=critical,keyCertSign,cRLSign and a subjectKeyIdentifier, the client certificate a"
    " subjectKeyIdentifier and an authorityKeyIdentifier: `openssl verify -x509_strict -purpose"
    " sslclient -CAfile CA CERTIFICATE` asks what the image does"
)
WAYS_OUT = (
    "certify the CA's key anew with these extensions, which leaves running amphorae as they are"
    " (docs/how-to/octavia.md); or build from a series with a Python before 3.13 (source.series);"
    " octavia.compatibility.certificates = warn promotes all the same"
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The words with which a Python of each kind refuses a client; None where it is accepted."""

    lenient: str | None
    strict: str | None


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client of an agent: the CA that the agent trusts, and what it is shown, both PEM.

    `shown` is a certificate and a key. `keyless` is one without the certificate's own key: it has
    one whose public half alone is right, so that an agent which accepts the certificate finds the
    signature wrong.
    """

    ca: bytes
    shown: bytes
    keyless: bool


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """The client that a control plane is, and how this machine's TLS judged it.

    Where the CA alone is known, the client is one of a copy of it. `source` is where they are from,
    or the reason why nothing is known. `remarks` are about what does not depend on the image.
    """

    source: str
    client: Client | None = None
    judgement: Judgement | None = None
    remarks: tuple[str, ...] = ()

    def refusal(self, *, strict: bool) -> str | None:
        """Return the words by which a Python refuses them; None for accepted, or not known."""
        if self.judgement is None:
            return None
        return self.judgement.strict if strict else self.judgement.lenient


def is_strict(python: str) -> bool:
    """Return True if a version of Python, `3.13.5`, verifies strictly."""
    found = re.match(r"([0-9]{1,4})\.([0-9]{1,4})(?![0-9])", python)
    return found is not None and (int(found[1]), int(found[2])) >= STRICT_SINCE


def objections(certificates: Certificates, series: str) -> list[str]:
    """Return what agents on the Python of a series are known to refuse, and an older one not."""
    python = SERIES[series].python
    refusal = certificates.refusal(strict=is_strict(python))
    if refusal is None or certificates.refusal(strict=False) is not None:
        return []
    return [
        f"agents on Python {python} of {series} refuse the control plane's client certificate"
        f" ({certificates.source}): {refusal}: the image will not be promoted; {ADVICE}; or"
        f" {WAYS_OUT}"
    ]


def unknown(certificates: Certificates, series: str) -> list[str]:
    """Return a warning where agents of a series may refuse certificates that are not known."""
    python = SERIES[series].python
    if certificates.judgement is not None or not is_strict(python):
        return []
    return [
        f"Python {python} of {series} refuses certificates made as the charm guide shows, and the"
        f" control plane's are not known ({certificates.source}): {ADVICE}"
    ]


@dataclass(frozen=True, kw_only=True)
class CertificateFinding:
    """What comes of the certificates: whether to promote the image, and why."""

    outcome: Literal["passed", "warned", "failed"]
    detail: str


def judged(
    certificates: Certificates, refusal: str | None, *, guard: str, proven: bool
) -> CertificateFinding:
    """Judge an image by the words with which its agent refuses the certificates, None for accepted.

    `proven` is whether the booted agent was asked. Certificates that every Python refuses are not
    the image's fault: the promoted one would refuse them as well, and they only warn.
    """
    if refusal is None:
        return CertificateFinding(outcome="passed", detail=f"accepted: {certificates.source}")
    reasons = [f"the agent refuses the control plane's client certificate: {refusal}"]
    words = certificates.refusal(strict=True)
    if words is not None and words not in refusal:
        reasons.append(words)
    reasons.append(certificates.source)
    everywhere = certificates.refusal(strict=False)
    if everywhere is not None:
        reasons.append(f"every Python refuses it ({everywhere}): the control plane has to change")
        return CertificateFinding(outcome="warned", detail="; ".join(reasons))
    if not proven:
        reasons.append("inferred from the version of Python")
    reasons.append(ADVICE)
    refuses = proven and guard == "refuse"
    if refuses:
        reasons.append(f"ways out: {WAYS_OUT}")
    return CertificateFinding(outcome="failed" if refuses else "warned", detail="; ".join(reasons))

"""The certificates of a control plane, as far as this machine may read them; keys never are."""

from __future__ import annotations

from pathlib import Path

from retrofit.cloud.octavia_conf import Wanted, wanted_by_octavia
from retrofit.config import Target
from retrofit.control_plane.certificates import Certificates
from retrofit.system.certificate_file import NoCertificateError, read_certificates
from retrofit.verify.boot.client import UnsuitableCertificateError, client_of, judge


def observe_certificates(target: Target) -> Certificates | None:
    """Return what the control plane presents to amphorae; None where nobody wants to know.

    The files are those of the settings, else those of octavia.conf.
    """
    settings = target.octavia
    if settings.compatibility.certificates == "ignore":
        return None
    conf = wanted_by_octavia(target)
    known = conf if isinstance(conf, Wanted) else None
    ca_file = settings.client_ca or (known.client_ca if known else None)
    client_file = settings.client_cert or (known.client_cert if known else None)
    remarks = _about_servers(known.server_ca) if known else ()
    if ca_file is None:
        why = conf if isinstance(conf, str) else "octavia.conf is not readable on this machine"
        return Certificates(source=f"octavia.client_ca is not set, and {why}")
    try:
        ca = read_certificates(ca_file)
    except NoCertificateError as error:
        return Certificates(source=f"{ca_file} cannot be read: {error}", remarks=remarks)
    source, shown = f"CA {ca_file}", tuple[str, ...]()
    if client_file is not None:
        try:
            shown = read_certificates(client_file)
            source = f"{source}, certificate {client_file}"
        except NoCertificateError as error:
            source = f"{source}; {client_file} cannot be read: {error}"
    try:
        client = client_of(ca, shown)
        judgement = judge(client)
    except UnsuitableCertificateError as error:
        return Certificates(source=f"{source}: {error}", remarks=remarks)
    return Certificates(source=source, client=client, judgement=judgement, remarks=remarks)


def _about_servers(file: Path) -> tuple[str, ...]:
    """Return what the controllers' own Python may refuse of every amphora, whatever its image.

    A server's certificate that a copy of its CA certifies is judged as a client's would be: the
    extensions that a strict Python asks for are the CA's.
    """
    try:
        judgement = judge(client_of(read_certificates(file), ()))
    except (NoCertificateError, UnsuitableCertificateError):
        return ()  # of no image's concern
    if judgement.lenient is not None:
        return (f"the CA of the amphorae's certificates, {file}: {judgement.lenient}",)
    if judgement.strict is not None:
        return (
            f"the CA of the amphorae's certificates, {file}: controllers on Python 3.13 and later"
            f" refuse it ({judgement.strict}); that is no matter of the image",
        )
    return ()

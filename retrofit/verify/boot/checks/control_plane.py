"""The control plane's configurations and certificates, put to the machine's own programs."""

from __future__ import annotations

from retrofit.control_plane.certificates import ADVICE, Client, judged
from retrofit.verify.boot.trial import Trial
from retrofit.verify.checks import CheckFailedError, NotApplicableError, WarningError
from retrofit.verify.control_plane.language import ask_language


def is_asked(trial: Trial) -> str:
    """Ask HAProxy and keepalived for every kind of load balancer that the control plane writes.

    Each kind then is a check of its own, such as `haproxy-takes-2025.1-http-monitor`.
    """
    expected = trial.control_plane
    if expected is None or not expected.questions():
        raise NotApplicableError("nothing is known of the control plane, or nobody wants to know")
    probe = trial.amphora.probe
    trial.language = ask_language(
        expected,
        lambda text, seconds: probe.ask(text, timeout=seconds),
        pem=trial.certificate.pem,
    )
    return f"{len(trial.language)} configurations of octavia {expected.plane}"


def judges_guides_certificates(trial: Trial) -> str:
    """Show the agent a client certificate that is made as the charm guide shows.

    A Python from 3.13 on refuses it: a warning, where the control plane's own is not known.
    """
    credentials = trial.amphora.credentials
    guide = Client(
        ca=credentials.guide_ca.certificate_pem, shown=credentials.guide.pem, keyless=False
    )
    refusal = trial.agent.refusal_of(guide)
    if refusal is None:
        return "accepted"
    expected = trial.control_plane
    known = None if expected is None else expected.certificates
    if known is not None and known.client is None:
        raise WarningError(
            f"refused: {refusal}; whether the control plane's is made so is not known"
            f" ({known.source}): {ADVICE}"
        )
    return f"refused: {refusal}"


def judges_control_planes_certificate(trial: Trial) -> str:
    """Show the agent the client certificate of the control plane, whose key is not needed for it.

    It fails where the agent refuses what an older Python accepts.
    """
    expected = trial.control_plane
    known = None if expected is None else expected.certificates
    if expected is None or known is None:
        raise NotApplicableError("nobody wants to know")
    if known.client is None:
        raise NotApplicableError(f"it is not known: {known.source}")
    try:
        refusal = trial.agent.refusal_of(known.client)
    except ConnectionError as error:
        raise WarningError(f"the agent does not answer about it: {error}") from error
    found = judged(known, refusal, guard=expected.certificate_guard, proven=True)
    if found.outcome == "failed":
        raise CheckFailedError(found.detail)
    if found.outcome == "warned":
        raise WarningError(found.detail)
    return found.detail

"""Why a server could not be asked, in words for people, and what may pass."""

from __future__ import annotations

from sbcdark.pipeline.fits_input import clean

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses of a server that is busy or in trouble: asked again after a while it may answer."""


def why(error: BaseException) -> str:
    """Return in a few words why a server could not be asked."""
    from requests import HTTPError, RequestException  # noqa: PLC0415  only where something went wrong

    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or step.__context__
    response = next((one.response for one in chain if isinstance(one, HTTPError) and one.response is not None), None)
    if response is not None:
        return f"it answers {response.status_code} {clean(str(response.reason))[:60]}"
    text = " ".join(str(one) for one in chain)
    known = (
        ("ProxyError", "the proxy refuses"),
        ("Unable to connect to proxy", "the proxy refuses"),
        ("NameResolutionError", "its name cannot be resolved"),
        ("Failed to resolve", "its name cannot be resolved"),
        ("Connection refused", "the connection is refused"),
        ("Network is unreachable", "the network is unreachable"),
        ("No route to host", "there is no route to it"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate cannot be verified"),
        ("timed out", "the connection timed out"),
        ("Expecting value", "its answer is no JSON"),
        ("JSONDecodeError", "its answer is no JSON"),
        ("Connection aborted", "it broke the connection off"),
        ("Connection broken", "it broke the connection off"),
    )
    found = next((words for sign, words in known if sign in text), None)
    if found is not None:
        return found
    if isinstance(error, RequestException | OSError):
        return f"the connection failed ({type(error).__name__})"
    return f"its answer cannot be understood ({type(error).__name__}: {clean(str(error))[:120]})"

"""What is wrong with TLS where a connection to MongoDB fails, in words that say what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pymongo import MongoClient

_REFUSED: Final = "CERTIFICATE_VERIFY_FAILED"
_REASON: Final = re.compile(r"certificate verify failed: ([^()]{1,200}?)\.? \(_ssl")
_OF_TIME: Final = ("expired", "not yet valid")


def refused_certificate(client: MongoClient[Any]) -> str | None:
    """Return why no server's certificate is trusted; None where one fails for another reason.

    One of several hosts that is merely away may come back, so that all of them have to be refused.

    Args:
        client: as it was when no server could be selected.
    """
    errors = _errors(client)
    if not errors or not all(_REFUSED in one for one in errors):
        return None
    found = _REASON.search(errors[0])
    reason = found[1] if found else "not verified"
    if "mismatch" in reason:
        cure = "put the name that the certificate was made for into MONGODB_URI"
    elif any(one in reason for one in _OF_TIME):
        cure = "renew it, or set the clock of this machine"
    else:
        cure = (
            "name the file of the authority that signed it with tlsCAFile in MONGODB_URI, and see "
            "that nobody stands in between"
        )
    return f"its certificate is not trusted ({reason}): {cure}"


def hint_of_tls(client: MongoClient[Any], *, tls: bool) -> str:
    """Return what else may be wrong where no server answers; empty where nothing hints at TLS.

    Args:
        client: as it was when no server could be selected.
        tls: whether it speaks TLS.
    """
    errors = _errors(client)
    if not tls and any("connection closed" in one for one in errors):
        return (
            "; it closed the connection, as a server does that takes TLS only: then MONGODB_URI "
            "needs tls=true, and tlsCAFile for an authority of your own"
        )
    if tls and any("SSL" in one and _REFUSED not in one for one in errors):
        return (
            "; no TLS came about: the server may speak none on this port, or ask for a client "
            "certificate (tlsCertificateKeyFile in MONGODB_URI)"
        )
    return ""


def _errors(client: MongoClient[Any]) -> list[str]:
    servers = client.topology_description.server_descriptions().values()
    return [str(one.error) for one in servers]

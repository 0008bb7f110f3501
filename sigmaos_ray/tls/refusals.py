"""What went wrong between two ends, in words: OpenSSL's own are for those who know it."""

from __future__ import annotations

import ssl
from typing import Final

_OTHER_AUTHORITY: Final = "of another authority than ours"

CLOSED: Final = "the other end closed the connection in the midst of the handshake: it may speak no TLS"

_VERIFY: Final = {
    9: "the other end's certificate is not valid yet: do the clocks agree?",
    10: "the other end's certificate has expired",
    18: f"the other end's certificate is {_OTHER_AUTHORITY}",
    19: f"the other end's certificate is {_OTHER_AUTHORITY}",
    20: f"the other end's certificate is {_OTHER_AUTHORITY}",
    21: f"the other end's certificate is {_OTHER_AUTHORITY}",
    26: "the other end's certificate is not for what it does: a client's cannot serve",
    62: "the other end's certificate is of no host of an instance",
}
"""By OpenSSL's numbers."""

_REASONS: Final = {
    "WRONG_VERSION_NUMBER": "the other end speaks no TLS",
    "HTTP_REQUEST": "the other end speaks no TLS",
    "HTTPS_PROXY_REQUEST": "the other end speaks no TLS",
    "PACKET_LENGTH_TOO_LONG": "the other end speaks no TLS",
    "RECORD_LAYER_FAILURE": "the other end speaks no TLS",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the other end shows no certificate",
    "NO_PROTOCOLS_AVAILABLE": "the other end speaks too old a TLS",
    "UNSUPPORTED_PROTOCOL": "the other end speaks too old a TLS",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the other end asks for a certificate, and we have none",
    "TLSV1_ALERT_UNKNOWN_CA": "the other end takes no certificates of our authority",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the other end does not take our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the other end does not take our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the other end does not take our certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "the other end does not take our certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "the other end takes no certificates of our authority",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the other end speaks another TLS",
}
"""By OpenSSL's names for them."""


def why(error: ssl.SSLError) -> str:
    """What it means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, f"the other end's certificate: {error.verify_message}")
    return _REASONS.get(error.reason or "", f"TLS: {error.reason or error}")

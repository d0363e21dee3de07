"""Signatures of Standard Webhooks: HMAC-SHA256 over id, time and body, in the header ``webhook-signature``."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"


def sign(secret: str, message_id: str, timestamp: int, body: str) -> str:
    """``v1,`` and the signature in Base64. ``timestamp`` in seconds since 1970; ``secret`` is ``whsec_`` and Base64."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(secrets: Sequence[str], message_id: str, timestamp: int, body: str) -> dict[str, str]:
    """The headers of a message: what it is, and that it is ours. Several secrets give a signature each, in order."""
    return {
        "content-type": "application/json",
        "user-agent": "Errata-Webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp, body) for secret in secrets),
    }

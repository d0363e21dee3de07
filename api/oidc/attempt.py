"""What one sign-in is bound to, and how it can fail. Imports nothing heavy: every API process loads it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass


class ProviderAway(Exception):
    """The provider does not answer, or not as OpenID Connect says."""


class SignInRefused(Exception):
    """The provider's answer does not identify anybody. The message says why, without anything secret."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one sign-in is bound to: kept in the browser that began it, and given to the provider as hashes or as is."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Attempt:
        """A fresh one, of 256 random bits each."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))

"""The conversation with an OpenID Connect provider: authorization code with PKCE, and an ID token that is verified.

joserfc verifies the token. Asymmetric signatures only: with an HMAC the client secret, and
with ``none`` nobody at all, would vouch for a person.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from api.oidc.attempt import Attempt, ProviderAway, SignInRefused
from api.settings import ApiSettings

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
_TIMEOUT = httpx.Timeout(10.0)
_LEEWAY_SECONDS = 60  # between the provider's clock and ours
_KNOWN_FOR_SECONDS = 3600.0  # the provider's addresses and keys
_ASKED_AGAIN_AFTER_SECONDS = 30.0  # for keys, when a token names an unknown one


class Provider:
    """One provider, as the settings name it. Threads may share it. Connects when first asked."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._issuer = str(settings.oidc_issuer).rstrip("/")
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._metadata_until = self._keys_since = 0.0

    def authorization_url(self, attempt: Attempt, redirect_uri: str) -> str:
        """Where the browser is sent. Raises ProviderAway."""
        endpoint = httpx.URL(self._endpoint("authorization_endpoint"))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": str(self._settings.oidc_client_id),
            "redirect_uri": redirect_uri,
            "scope": self._settings.oidc_scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return str(endpoint.copy_merge_params(asked))

    def claims(self, attempt: Attempt, code: str, redirect_uri: str) -> dict[str, Any]:
        """The claims about who signed in. Raises ProviderAway, and SignInRefused for a code or token that is no good.

        Where the ID token lacks address or groups, the provider's UserInfo is asked as well.
        """
        token = self._token(attempt, code, redirect_uri)
        claims = self._verified(str(token.get("id_token") or ""), attempt)
        about = self._known().get("userinfo_endpoint")
        if about and not {"email", self._settings.oidc_groups_claim} <= claims.keys():
            headers = {"Authorization": f"Bearer {token.get('access_token') or ''}"}
            told = _fetched(str(about), headers)
            if told.get("sub") != claims["sub"]:
                raise SignInRefused("the provider's UserInfo is about somebody else")
            claims = {**told, **claims}
        return claims

    def _token(self, attempt: Attempt, code: str, redirect_uri: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": attempt.verifier,
            "client_id": str(self._settings.oidc_client_id),
        }
        secret, auth = self._settings.oidc_client_secret, None
        ways = self._known().get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if secret and "client_secret_basic" in ways:
            auth = (quote_plus(form.pop("client_id")), quote_plus(secret))  # encoded as RFC 6749, 2.3.1 says
        elif secret:
            form["client_secret"] = secret
        try:
            answer = httpx.post(self._endpoint("token_endpoint"), data=form, auth=auth, timeout=_TIMEOUT)
            token = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderAway(type(error).__name__) from None
        if answer.status_code != 200 or not isinstance(token, dict):
            if answer.status_code >= 500:
                raise ProviderAway(f"status {answer.status_code}")
            raise SignInRefused("the provider does not accept this code; sign in again")
        return token

    def _verified(self, id_token: str, attempt: Attempt) -> dict[str, Any]:
        try:
            token = self._decoded(id_token)
            registry = jwt.JWTClaimsRegistry(
                leeway=_LEEWAY_SECONDS,
                iss={"essential": True, "value": self._known()["issuer"]},
                aud={"essential": True, "value": str(self._settings.oidc_client_id)},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True},
            )
            registry.validate(token.claims)
        except (JoseError, ValueError) as error:
            raise SignInRefused(f"the provider's ID token is not valid ({type(error).__name__})") from None
        claims = dict(token.claims)
        if not hmac.compare_digest(str(claims["nonce"]).encode(), attempt.nonce.encode()):
            raise SignInRefused("the provider's ID token belongs to another sign-in")
        if claims.get("azp", self._settings.oidc_client_id) != self._settings.oidc_client_id:
            raise SignInRefused("the provider's ID token was issued to another client")
        return claims

    def _decoded(self, id_token: str) -> jwt.Token:
        try:
            return jwt.decode(id_token, self._key_set(), algorithms=_ALGORITHMS)
        except JoseError:
            # Providers change their keys: asked for again, but not by every bad token.
            if time.monotonic() - self._keys_since < _ASKED_AGAIN_AFTER_SECONDS:
                raise
            self._keys = None
            return jwt.decode(id_token, self._key_set(), algorithms=_ALGORITHMS)

    def _endpoint(self, name: str) -> str:
        return str(self._known()[name])

    def _known(self) -> dict[str, Any]:
        """The provider's metadata. Raises ProviderAway."""
        with self._lock:
            if not self._metadata or time.monotonic() > self._metadata_until:
                found = _fetched(f"{self._issuer}/.well-known/openid-configuration")
                needed = {"issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"}
                if not needed <= found.keys() or str(found["issuer"]).rstrip("/") != self._issuer:
                    raise ProviderAway("its metadata is incomplete or another issuer's")
                self._metadata, self._metadata_until = found, time.monotonic() + _KNOWN_FOR_SECONDS
            return self._metadata

    def _key_set(self) -> KeySet:
        jwks_uri = self._endpoint("jwks_uri")
        with self._lock:
            if self._keys is None or time.monotonic() - self._keys_since > _KNOWN_FOR_SECONDS:
                try:
                    self._keys = KeySet.import_key_set(_fetched(jwks_uri))  # type: ignore[arg-type]
                except (JoseError, ValueError, KeyError) as error:
                    raise ProviderAway(type(error).__name__) from None
                self._keys_since = time.monotonic()
            return self._keys


def _fetched(url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    try:
        answer = httpx.get(url, headers=dict(headers or {}), timeout=_TIMEOUT)
        answer.raise_for_status()
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ProviderAway(type(error).__name__) from None
    if not isinstance(found, dict):
        raise ProviderAway("its answer is no JSON object")
    return found

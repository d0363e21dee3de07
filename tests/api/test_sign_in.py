"""Signing in to the pages by OpenID Connect, against a provider that runs on this machine."""

from __future__ import annotations

import base64
import json
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlalchemy import func, select, update

from api.app import create_app
from api.http.auth import digest
from api.oidc.attempt import Attempt, SignInRefused
from api.oidc.provider import Provider
from api.oidc.rules import Rule, admitted, load_rules
from api.settings import ApiSettings
from models.access import AuditEntry, BrowserSession
from models.base import Base, db_now
from models.session import Database
from models.settings import StoreSettings
from tests.api.conftest import KeptHints
from tests.api.plain_clients import local

__all__ = ["local"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own use of what Authlib is about to drop
    from oidc_provider_mock import User, run_server_in_thread

Browser = Callable[[], TestClient]
RULES = [
    {"group": "staff", "scopes": ["admin"]},
    {"email": "bob@example.org", "workspace": "bobs", "scopes": ["write"]},
]
USERS = [
    User(sub="ann", claims={"email": "ann@example.org", "groups": ["staff", "all"]}),
    User(sub="bob", claims={"email": "Bob@example.org", "email_verified": True}),
    User(sub="eve", claims={"email": "bob@example.org"}),  # not verified: she only says so
]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A provider with the users above."""
    with run_server_in_thread(user_claims=USERS) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def settings(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> ApiSettings:
    """As an operator sets it up."""
    tmp_path = tmp_path_factory.mktemp("oidc")
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    (tmp_path / "secret").write_text("the secret\n")
    return ApiSettings(
        oidc_issuer=issuer,
        oidc_client_id="errata",
        oidc_client_secret_file=tmp_path / "secret",
        oidc_rules_file=tmp_path / "rules.json",
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The application's: sign-ins of one test are nothing to the others."""
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('database') / 'errata.db'}")
    Base.metadata.create_all(made.engine)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def browser(database: Database, tmp_path_factory: pytest.TempPathFactory, settings: ApiSettings) -> Browser:
    """Browsers of one application."""
    store = StoreSettings(ERRATA_HOME=tmp_path_factory.mktemp("home"))  # type: ignore[call-arg]
    app = create_app(database, store, KeptHints(database), settings)
    return lambda: TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False)


def provider_answer(client: TestClient, subject: str) -> str:
    """Where the provider sends the browser back to, after this person has signed in there."""
    begun = client.get("/oidc/sign-in")
    asked = parse_qs(urlsplit(begun.headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert len(asked["nonce"][0]) >= 32
    cookie = begun.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    return httpx.post(begun.headers["location"], data={"sub": subject}).headers["location"]


def refusal(answer: httpx.Response) -> str:
    assert answer.status_code == 401
    assert "errata_session" not in answer.headers.get("set-cookie", "")
    return re.findall(r'role="alert">(.*?)<', answer.text)[0]


def test_a_person_signs_in_acts_and_signs_out(browser: Browser, database: Database) -> None:
    client = browser()
    first = client.get("/")
    assert (first.status_code, "/oidc/sign-in" in first.text) == (401, True), "also on loopback without keys"
    assert client.get("/v1/usage").status_code == 401
    answer = client.get(provider_answer(client, "ann"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith("errata_session="))
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert "ann@example.org" in client.get("/workspace").text
    made = client.post("/keys", data={"name": "mine", "scopes": "write"})
    assert made.status_code == 200
    assert client.post("/keys", data={"name": "x"}, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/v1/usage").status_code == 401, "/v1 takes no cookie"
    token = client.cookies["errata_session"]
    with database.read() as session:
        assert token not in str([vars(row) for row in session.scalars(select(BrowserSession))])
    assert client.post("/sign-out").status_code == 303
    client.cookies.set("errata_session", token)
    assert client.get("/keys").status_code == 401, "the session has ended on the server too"
    with database.read() as session:
        rows = session.scalars(select(AuditEntry).order_by(AuditEntry.created_at)).all()
    assert [(row.actor, row.method, row.route, row.status) for row in rows][:2] == [
        ("oidc:ann", "GET", "/oidc/callback", 303),
        ("oidc:ann", "POST", "/keys", 200),
    ]
    assert (rows[-1].actor, rows[-1].route) == ("oidc:ann", "/sign-out")


def test_rules_decide_about_workspace_and_scopes(browser: Browser) -> None:
    bob = browser()
    assert bob.get(provider_answer(bob, "bob")).status_code == 303
    page = bob.get("/workspace").text
    assert "Workspace bobs" in page
    assert bob.get("/keys").status_code == 403
    eve = browser()
    assert "nobody has allowed you in" in refusal(eve.get(provider_answer(eve, "eve")))


def test_an_answer_counts_once_and_in_its_own_browser(browser: Browser, database: Database) -> None:
    ann, other = browser(), browser()
    callback = provider_answer(ann, "ann")
    kept = dict(ann.cookies)["errata_sign_in"]
    assert "begun in another browser" in refusal(other.get(callback)), "a link that was sent to somebody"
    provider_answer(other, "ann")
    assert "not begun here" in refusal(other.get(callback)), "with a sign-in of its own under way"
    assert ann.get(callback).status_code == 303
    assert ann.get(callback).status_code == 401, "its cookie is gone"
    ann.cookies.set("errata_sign_in", kept)
    assert "does not accept this code" in refusal(ann.get(callback))
    assert "did not sign you in" in refusal(ann.get(f"/oidc/callback?error=access_denied&state={_state(kept)}"))
    with database.read() as session:
        assert session.scalar(select(func.count()).where(BrowserSession.state_sha256 == digest(_state(kept)))) == 1


def _state(cookie: str) -> str:
    return str(json.loads(base64.urlsafe_b64decode(cookie))[0])


def test_a_session_ends_with_its_time(browser: Browser, database: Database) -> None:
    client = browser()
    client.get(provider_answer(client, "ann"))
    assert client.get("/").status_code == 200
    with database.begin() as session:
        session.execute(update(BrowserSession).values(expires_at=db_now(-1)))
    assert "your session has ended" in client.get("/").text


def test_a_token_of_another_sign_in_or_client_is_refused(settings: ApiSettings, issuer: str) -> None:
    redirect = "http://127.0.0.1/oidc/callback"

    def code(provider: Provider, attempt: Attempt) -> str:
        sent = httpx.post(provider.authorization_url(attempt, redirect), data={"sub": "ann"}).headers["location"]
        return parse_qs(urlsplit(sent).query)["code"][0]

    provider, attempt = Provider(settings), Attempt.new()
    assert provider.claims(attempt, code(provider, attempt), redirect)["sub"] == "ann"
    other = Attempt(attempt.state, "another nonce", attempt.verifier)
    with pytest.raises(SignInRefused, match="another sign-in"):
        provider.claims(other, code(provider, attempt), redirect)
    with pytest.raises(SignInRefused, match="InvalidClaimError"):
        provider._verified(_token_for(provider, attempt, code(provider, attempt), "someone-else"), attempt)
    unsigned = ".".join(_b64(part) for part in ({"alg": "none"}, {"sub": "ann", "nonce": attempt.nonce})) + "."
    for token in (unsigned, "", "a.b.c"):
        with pytest.raises(SignInRefused, match="not valid"):
            provider._verified(token, attempt)


def _b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _token_for(provider: Provider, attempt: Attempt, code: str, client_id: str) -> str:
    """An ID token of the provider; afterwards the settings name another client."""
    token = provider._token(attempt, code, "http://127.0.0.1/oidc/callback")["id_token"]
    provider._settings = provider._settings.model_copy(update={"oidc_client_id": client_id})
    return str(token)


def test_a_provider_that_is_away_is_told_so(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    state: Any = browser().app.state  # type: ignore[attr-defined]
    away = state.api.settings.model_copy(update={"oidc_issuer": "http://127.0.0.1:9"})
    monkeypatch.setattr(state, "oidc_provider", Provider(away), raising=False)
    begun = browser().get("/oidc/sign-in")
    assert (begun.status_code, "identity provider does not answer" in begun.text) == (503, True)


def test_without_the_setting_nothing_changes(local: TestClient) -> None:
    assert local.get("/").status_code == 200
    for path in ("/oidc/sign-in", "/oidc/callback?code=x&state=y"):
        assert local.get(path).status_code == 404
    local.cookies.set("errata_session", "x")
    assert local.get("/").status_code == 200


def test_rules_need_a_verified_address() -> None:
    rules = [Rule(email_domain="example.org"), Rule(group="g", email="a@b.c", scopes=("admin",))]
    verified = {"email": "A@Example.org", "email_verified": True}
    assert admitted(rules, verified, "groups") is rules[0]
    for claims in (
        {"email": "a@example.org"},
        {"email": "a@example.org", "email_verified": False},
        {"email": "a@evil-example.org", "email_verified": True},
        {"email": "a@example.org.evil", "email_verified": True},
        {"groups": ["g"]},
        {"groups": "g", "email": "a@b.c"},
    ):
        assert admitted(rules, claims, "groups") is None, claims


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "nobody could sign in"),
        ("{", "Invalid JSON"),
        ('[{"scopes": ["read"]}]', "would admit everybody"),
        ('[{"group": "g", "scopes": ["root"]}]', "0.scopes.0"),
        ('[{"group": "g", "workspace": "(pilots)"}]', "the service's own"),
    ],
)
def test_bad_rules_say_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(told)):
        load_rules(file)


def test_settings_that_are_incomplete_name_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as raised:
        ApiSettings(oidc_issuer="https://login.example.org")
    assert {error["loc"][0] for error in raised.value.errors()} == {"oidc_client_id", "oidc_rules_file"}
    for issuer in ("http://login.example.org", "ftp://x", "https://", "https://a?b=c"):
        with pytest.raises(ValidationError, match="https://"):
            ApiSettings(oidc_issuer=issuer)
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ValidationError, match="empty"):
        ApiSettings(oidc_client_secret_file=tmp_path / "secret")

"""``errata login`` and ``errata logout``: profiles, each a service and its key."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import CliError
from cli.user.connection import LOCAL, AsJson, Profile, read_profiles, write_profiles
from cli.user.output import print_json, say

Name = Annotated[str, typer.Option("--profile", help="Name of the profile; ERRATA_PROFILE chooses one.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(login)
    app.command()(logout)


def login(
    url: Annotated[str | None, typer.Argument(help="The service's address.")] = None,
    key: Annotated[str | None, typer.Option(help="The key; default: asked for, so that no shell remembers it.")] = None,
    profile: Name = "default",
    as_json: AsJson = False,
) -> None:
    """Remember a service and its key for later commands."""
    from errata_client import AuthenticationError, Errata, ErrataError

    address = (url or LOCAL).rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise CliError(f"{address}: give an address that begins with http:// or https://")
    try:
        try:
            with Errata(address, api_key=key) as errata:
                errata.models.list()
        except AuthenticationError:
            if key is not None:
                raise
            key = typer.prompt("API key", hide_input=True).strip()
            with Errata(address, api_key=key) as errata:
                errata.models.list()
    except AuthenticationError:
        raise CliError(f"{address} does not know this key", status=5) from None
    except ErrataError as error:
        raise CliError(str(error), status=4) from None
    path = write_profiles({**read_profiles(), profile: Profile(address, key)})
    if as_json:
        print_json({"profile": profile, "url": address})
        return
    say(f"Logged in to {address}" + ("" if key else ", which asks for no key") + f"; kept in {path}")


def logout(profile: Name = "default", as_json: AsJson = False) -> None:
    """Forget a profile and its key. The key itself stays valid: `errata keys revoke` ends it."""
    known = read_profiles()
    if known.pop(profile, None) is None:
        raise CliError(f"there is no profile '{profile}'" + (f"; there are {', '.join(known)}" if known else ""))
    write_profiles(known)
    if as_json:
        print_json({"profile": profile})
    else:
        say(f"Forgot {profile}")

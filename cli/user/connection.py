"""Which service a command speaks to, and with which key.

The address is ``--url``, else ``ERRATA_URL``, else the profile's, else this machine's port 8000. The key is
``ERRATA_API_KEY``, else the profile's; a profile's key goes to the profile's own address alone.

Profiles lie in ``ERRATA_CONFIG`` or ``~/.config/errata/profiles.json``, readable by their owner only. ``errata login``
writes them; ``ERRATA_PROFILE`` chooses one.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import CliError

if TYPE_CHECKING:
    from errata_client import Errata

LOCAL = "http://127.0.0.1:8000"
_READER_LEFT = 141  # as a shell tells of a program that SIGPIPE ended
Url = Annotated[str | None, typer.Option("--url", help="The service; default: ERRATA_URL, else the profile's.")]
Local = Annotated[bool, typer.Option("--local", help="Work on DATABASE_URL, whatever profile there is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: one object, or one line for each row of a list.")]


@dataclass(frozen=True, slots=True)
class Profile:
    """A service that a user has logged in to."""

    url: str
    key: str | None


def profiles_file() -> Path:
    """Where profiles are kept."""
    given = os.environ.get("ERRATA_CONFIG")
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(given) if given else Path(base) / "errata" / "profiles.json"


def read_profiles() -> dict[str, Profile]:
    """Every profile by its name; none where there is no file. Raises CliError for a file that cannot be read."""
    path = profiles_file()
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): Profile(str(row["url"]), row.get("key")) for name, row in stored.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CliError(f"{path} cannot be read ({error}); remove it and run `errata login` again") from None


def write_profiles(profiles: dict[str, Profile]) -> Path:
    """Replace the file. Keys are secrets: only their owner may read it, from the first byte on."""
    path = profiles_file()
    text = json.dumps({name: {"url": each.url, "key": each.key} for name, each in sorted(profiles.items())}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:  # noqa: PTH123
            out.write(text + "\n")
        part.replace(path)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}; ERRATA_CONFIG names another file") from None
    return path


def chosen_profile() -> Profile | None:
    """The profile that ``ERRATA_PROFILE`` names, else the one called "default". Raises CliError for an unknown one."""
    name = os.environ.get("ERRATA_PROFILE")
    known = read_profiles()
    if name and name not in known:
        raise CliError(f"ERRATA_PROFILE={name}: there is no such profile; run `errata login --profile {name}`")
    return known.get(name or "default")


def speaks_http(url: str | None, local: bool = False) -> bool:
    """Whether a command that also works on the database is meant for a service. Raises CliError for both at once."""
    if local and url:
        raise CliError("--local works on DATABASE_URL and --url on a service; give one of them", status=2)
    return not local and bool(url or os.environ.get("ERRATA_URL") or chosen_profile())


def target(url: str | None) -> Profile:
    """The address and key of a command."""
    profile = chosen_profile()
    address = (url or os.environ.get("ERRATA_URL") or (profile.url if profile else LOCAL)).rstrip("/")
    key = os.environ.get("ERRATA_API_KEY")
    if key is None and profile is not None and address == profile.url.rstrip("/"):
        key = profile.key
    return Profile(address, key)


@contextmanager
def connected(url: str | None) -> Iterator[Errata]:
    """A client of the service. What the client raises becomes one line that says what to do (CliError)."""
    from errata_client import AuthenticationError, Errata, ErrataError, JobFailed, PermissionDenied, ServiceUnreachable

    where = target(url)
    try:
        with Errata(where.url, api_key=where.key) as errata:
            yield errata
    except ServiceUnreachable as error:
        raise CliError(f"{error}; start it with `errata serve`, or name another with --url", status=4) from None
    except AuthenticationError as error:
        raise CliError(f"{error.detail or error}; run `errata login`, or set ERRATA_API_KEY", status=5) from None
    except PermissionDenied as error:
        raise CliError(f"{error.detail or error}; ask for a key with this scope", status=5) from None
    except JobFailed as error:
        raise CliError(str(error), status=3) from None
    except (ErrataError, ValueError) as error:
        raise CliError(told(error)) from None
    except BrokenPipeError:
        # The reader has left, as `head` does. Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_READER_LEFT) from None
    except OSError as error:
        raise CliError(f"{error.filename or 'file'}: {error.strerror or error}") from None


def told(error: Exception) -> str:
    """A refusal with each of its fields, as one line."""
    fields: Any = getattr(error, "errors", ())
    if not fields:
        return getattr(error, "detail", "") or str(error)
    listed = "; ".join(
        f"{each.field}: {each.message}" + (f" ({each.remedy})" if each.remedy else "") for each in fields
    )
    return f"{getattr(error, 'title', '') or 'refused'}: {listed}"

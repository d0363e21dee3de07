"""Problems from the Hugging Face hub by name: which files hold a split, and their rows, one file after the other.

Off unless the operator turns it on. Only the hub that the operator named is asked, with the operator's token. A caller
names a dataset there and nothing else: no address comes from a request.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.http.errors import ApiError, Invalid, TooLarge, Unavailable
from api.http.readers import RawRow, Unreadable, read_rows
from api.http.readers.unfolding import unfolded
from api.http.uploads import format_by_name
from api.problem_sets.hub_files import CONVERTED, Choice, NoSuchPart, choose, choose_converted
from api.problem_sets.schemas import HubSource
from api.settings import ApiSettings

_INFO_SECONDS = 20.0
_OFF = "send the file itself, or ask the service's operator to set ERRATA_HUB_INTAKE=true"
_AWAY = "the hub cannot be reached from the service; try again later, or send the file itself"


@dataclass(frozen=True)
class HubFiles:
    """The files of a split at one commit. ``key`` tells them from any other files."""

    settings: ApiSettings
    dataset: str
    commit: str
    names: tuple[str, ...]
    license: str | None
    source_url: str

    @property
    def key(self) -> list[Any]:
        """What the rows depend on."""
        return [_endpoint(self.settings), self.dataset, self.commit, *self.names]

    def rows(self, columns: Collection[str], header: list[str]) -> Iterator[RawRow]:
        """Every row, numbered through all files; a file is on disk only while it is read. ``header`` as in read_rows.

        Raises Unreadable, Unavailable, TooLarge, Invalid and BadRequest.
        """
        before = last = 0
        for name in self.names:
            # The columns are those of the first file.
            of_file = [] if before else header
            with tempfile.TemporaryDirectory(prefix="errata-hub-") as folder:
                for row in self._file_rows(name, Path(folder), columns, of_file):
                    last = before + row.line
                    yield row._replace(line=last)
            before = last

    def _file_rows(self, name: str, folder: Path, columns: Collection[str], header: list[str]) -> Iterator[RawRow]:
        kind, limit = format_by_name(name.lower()), self.settings.upload_limit
        with refusals(self.dataset):
            path = _hub(self.settings).hf_hub_download(
                self.dataset, name, repo_type="dataset", revision=self.commit, local_dir=folder
            )
        with Path(path).open("rb") as file:
            try:
                yield from read_rows(unfolded(file, limit), kind or "jsonl", limit, columns=columns, header=header)
            except Unreadable as error:
                raise Unreadable(f"{name[:200]}: {error}") from None


def find_files(settings: ApiSettings, source: HubSource) -> HubFiles:
    """The files that hold what is asked for, as they are now.

    Raises Invalid naming the field that the hub knows nothing of, Unavailable where it cannot be reached, TooLarge.
    """
    if not settings.hub_intake:
        raise Invalid.field("hub", "this service takes nothing from the hub", _OFF)
    info = _info(settings, source.dataset, source.revision)
    card = _card(info)
    try:
        found = choose(_sizes(info), card.get("configs"), source.config, source.split)
    except NoSuchPart as missing:
        converted = None if source.revision else _converted(settings, source)
        if converted is None:
            raise Invalid.field(f"hub.{missing.field}", str(missing), missing.remedy) from None
        info, found = converted
    if sum(found.sizes) > settings.upload_limit:
        raise TooLarge(f"the files are larger than {settings.upload_limit} bytes; choose another split or config")
    page = f"{_endpoint(settings)}/datasets/{source.dataset}/tree/{info.sha}"
    return HubFiles(settings, source.dataset, str(info.sha), found.names, _license(card), page)


def _converted(settings: ApiSettings, source: HubSource) -> tuple[Any, Choice] | None:
    """What the hub itself made of the dataset; None where it made nothing of it."""
    try:
        info = _info(settings, source.dataset, CONVERTED)
    except Invalid:
        return None
    try:
        return info, choose_converted(_sizes(info), source.config, source.split)
    except NoSuchPart as missing:
        raise Invalid.field(f"hub.{missing.field}", str(missing), missing.remedy) from None


def _info(settings: ApiSettings, dataset: str, revision: str | None) -> Any:
    with refusals(dataset):
        return _hub(settings).dataset_info(dataset, revision=revision, files_metadata=True, timeout=_INFO_SECONDS)


@contextmanager
def refusals(dataset: str) -> Iterator[None]:
    """What the hub and the way to it raise, as refusals: Invalid for names it does not know, else Unavailable."""
    from huggingface_hub import errors

    shown = dataset[:100]
    try:
        yield
    except ApiError:
        raise
    except errors.HFValidationError:
        raise Invalid.field("hub.dataset", "is no name of a dataset", "give owner/name, as on the hub") from None
    except errors.GatedRepoError:
        told = "give the service's operator access to it, or send the file itself"
        raise Invalid.field("hub.dataset", f"the hub gives '{shown}' only to those it admits", told) from None
    except errors.RepositoryNotFoundError:
        told = "check its name on the hub; a private one needs the operator's ERRATA_HUB_TOKEN"
        raise Invalid.field("hub.dataset", f"the hub has no dataset '{shown}'", told) from None
    except errors.LocalEntryNotFoundError as error:  # a file that could not be fetched, and is not here either
        raise Unavailable(_AWAY, headers={"Retry-After": "30"}) from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError):
        raise Invalid.field(
            "hub.revision", "the dataset has no such revision", "give a branch, tag or commit"
        ) from None
    except errors.HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            told = "ask the service's operator for an ERRATA_HUB_TOKEN that opens it, or send the file itself"
            raise Invalid.field("hub.dataset", f"the hub does not let the service read '{shown}'", told) from None
        raise Unavailable(f"{_AWAY} (HTTP {error.response.status_code})", headers={"Retry-After": "30"}) from error
    # Whatever else the library and its transports raise: httpx's errors, the hub's 5xx, being set offline.
    except Exception as error:
        raise Unavailable(f"{_AWAY} ({type(error).__name__})", headers={"Retry-After": "30"}) from error


def _hub(settings: ApiSettings) -> Any:
    from huggingface_hub import HfApi  # imported late: an API process that takes nothing from the hub does without

    # False, not None: without a token of the operator's the library would look for one of the account it runs under.
    token = settings.hub_token.get_secret_value() if settings.hub_token else False
    return HfApi(endpoint=_endpoint(settings), token=token)


def _endpoint(settings: ApiSettings) -> str:
    from huggingface_hub import constants

    return (settings.hub_endpoint or constants.ENDPOINT).rstrip("/")


def _card(info: Any) -> dict[str, Any]:
    card = info.card_data
    return dict(card.to_dict()) if card is not None else {}


def _license(card: dict[str, Any]) -> str | None:
    told = card.get("license")
    names = [told] if isinstance(told, str) else told if isinstance(told, list) else []
    return ", ".join(map(str, names))[:200] or None


def _sizes(info: Any) -> dict[str, int]:
    return {file.rfilename: file.size or 0 for file in info.siblings or []}

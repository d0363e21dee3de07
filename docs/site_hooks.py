"""What MkDocs does for this site beyond Markdown: the API's own OpenAPI document, and links out of the site."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+[^)]*\)")


def openapi() -> dict[str, Any]:
    """The document that ``/openapi.json`` answers, of this checkout."""
    from api.app import create_app
    from api.settings import ApiSettings
    from models.session import Database
    from models.settings import StoreSettings
    from workers.app import create_celery
    from workers.dispatch import Dispatcher

    with tempfile.TemporaryDirectory() as home:
        database = Database(f"sqlite:///{Path(home) / 'errata.db'}")
        store = StoreSettings(ERRATA_HOME=Path(home))  # type: ignore[call-arg]
        document = create_app(database, store, Dispatcher(create_celery("memory://")), ApiSettings()).openapi()
        database.dispose()
    return document


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add ``openapi.json``, which the page of the HTTP reference shows."""
    files.append(File.generated(config, "openapi.json", content=json.dumps(openapi())))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A link to a file of the repository outside the site becomes its text: the site has no such page."""
    return markdown if page.file.src_uri.startswith("read/") else _OUTSIDE.sub(r"\1", markdown)

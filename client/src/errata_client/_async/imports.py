"""Preference files of others, sent to become datasets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errata_client._async.handles import AsyncDataset
from errata_client._async.jobs import AsyncResource
from errata_client._async.uploads import post_form


class AsyncImports(AsyncResource):
    """A resource that files can be imported into."""

    path: str

    async def import_file(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        format: str | None = None,
        mapping: Mapping[str, str] | None = None,
        license: str | None = None,
        source_url: str | None = None,
        config: Mapping[str, Any] | None = None,
        on_bad_row: str = "report",
    ) -> AsyncDataset:
        """Make a dataset of a preference file: OpenAI, TRL, KTO, SFT, Step-DPO, HH or Errata's own rows.

        ``mapping`` names the file's columns, ``{"prompt": "instruction"}``. What became of the rows stands in
        ``imported``; with ``on_bad_row="refuse"`` a bad row refuses the file. The same import again is one dataset.
        The file is read as it is sent, never as a whole. Raises OSError for one that cannot be read.
        """
        fields = {"format": format, "license": license, "source_url": source_url, "on_bad_row": on_bad_row}
        file = Path(path)
        form = {"name": name or file.name, **{key: value for key, value in fields.items() if value is not None}}
        form |= {key: json.dumps(dict(value)) for key, value in (("mapping", mapping), ("config", config)) if value}
        answer = await post_form(self._transport, f"{self.path}/import", file, form)
        return self._made(AsyncDataset, answer)

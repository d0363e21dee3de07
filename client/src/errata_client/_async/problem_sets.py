"""Problem sets, and the solutions brought along with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from errata_client._async.life import AsyncKept
from errata_client._async.transport import AsyncRows
from errata_client._async.uploads import post_file
from errata_client.bodies import PATIENCE, AsyncLinesBody
from errata_client.records import BroughtSolutions, ProblemSet


class AsyncProblemSets(AsyncKept[ProblemSet]):
    """Problem sets and the solutions brought along with them."""

    path, record = "/v1/problem-sets", ProblemSet

    async def create(
        self, name: str, problems: str | Path | Iterable[Mapping[str, Any]], *, domain: str = "math", **criteria: Any
    ) -> ProblemSet:
        """Post problems in our fields or a known format; one bad row refuses the whole set, naming it.

        ``problems``: rows, or the path of a file, which ``upload`` then sends. ``criteria`` hold for every problem
        without its own: ``tolerance``, ``unordered``, ``extract``. ``mapping`` says which columns hold which fields,
        and ``solutions="reference"`` brings the rows' own solutions as well. ``license`` and ``source_url`` are taken
        as well. The same problems under the same name again answer the set that is there.
        """
        if isinstance(problems, (str, Path)):
            return await self.upload(name, problems, domain=domain, **criteria)
        body = {"name": name, "domain": domain, **criteria, "problems": [dict(row) for row in problems]}
        return ProblemSet.model_validate(await self._transport.post(self.path, body))

    async def upload(self, name: str, file: str | Path, *, domain: str = "math", **criteria: Any) -> ProblemSet:
        """Post a JSONL, JSON, CSV, TSV or Parquet file, or one of these packed as .gz or .zst; ValueError for others.

        The file is read as it is sent, never as a whole. Bad rows are listed in ``rejected``. ``criteria`` as in
        ``create``. Raises OSError for a file that cannot be read.
        """
        given = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in criteria.items()}
        fields = {"name": name, "domain": domain, **{key: each for key, each in given.items() if each is not None}}
        return ProblemSet.model_validate(await post_file(self._transport, self.path, Path(file), fields))

    async def from_hub(
        self,
        name: str,
        dataset: str,
        *,
        config: str | None = None,
        split: str = "train",
        revision: str | None = None,
        domain: str = "math",
        **criteria: Any,
    ) -> ProblemSet:
        """Have the service take one split of a dataset on the hub (``owner/name``), where its operator allows it.

        The service downloads it with its own token. ``criteria`` as in ``create``. Raises InvalidRequest naming what
        the hub does not have.
        """
        hub = {"dataset": dataset, "config": config, "split": split, "revision": revision}
        body = {"name": name, "domain": domain, **criteria, "hub": hub}
        return ProblemSet.model_validate(await self._transport.post(self.path, body, timeout=PATIENCE))

    async def get(self, problem_set_id: str) -> ProblemSet:
        """One problem set."""
        return ProblemSet.model_validate(await self._transport.get(f"/v1/problem-sets/{problem_set_id}"))

    def list(self, **filters: Any) -> AsyncRows[ProblemSet]:
        """Every problem set, newest first; filter: ``tag``."""
        return self._transport.rows(ProblemSet.model_validate, "/v1/problem-sets", **filters)

    def problems(self, problem_set_id: str) -> AsyncRows[dict[str, Any]]:
        """The problems of a set, in posting order."""
        return self._transport.pages(f"/v1/problem-sets/{problem_set_id}/problems")

    async def bring_solutions(
        self, problem_set_id: str, solutions: Iterable[Mapping[str, Any]] | str | Path
    ) -> BroughtSolutions:
        """Bring solutions along: ``problem`` (position or id), ``source``, ``text``, and optionally ``label``.

        A path is a file of such rows, in the formats of ``upload``; it is read as it is sent. Rows not taken are listed
        in ``rejected``. Sending the same again changes nothing. Raises ValueError and OSError as ``upload``.
        """
        path = f"{self.path}/{problem_set_id}/solutions"
        if isinstance(solutions, str | Path):
            return BroughtSolutions.model_validate(await post_file(self._transport, path, Path(solutions), {}))
        with AsyncLinesBody(solutions) as body:
            answer = await self._transport.post(path, content=body, headers=body.headers, timeout=PATIENCE)
        return BroughtSolutions.model_validate(answer)

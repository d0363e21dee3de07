# Made from _async/handles.py by client/tools/generate.py: change that file, not this one.
"""Jobs as the client answers them: records that also wait, stream and download.

A handle is what the service said when it was asked. It never changes: ``refresh`` and ``wait`` answer a new one.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr

from errata_client import records
from errata_client.errors import ErrataError
from errata_client.progress import Record

if TYPE_CHECKING:
    import datasets
    import pandas

    from errata_client.transport import Rows


class Handle(Record):
    """A record that knows the resource of the client that it came from."""

    _owner: Any = PrivateAttr(default=None)

    @property
    def _its(self) -> Any:
        if self._owner is None:
            raise ErrataError("this record has no client: it was read or copied from elsewhere; get it by its id")
        return self._owner

    def __getstate__(self) -> dict[Any, Any]:
        """For pickle: connections stay behind."""
        return {**super().__getstate__(), "__pydantic_private__": {"_owner": None}}


class Job(Handle, records.Job):
    """What every kind of job can."""

    def refresh(self) -> Self:
        """The job as it is now."""
        found: Self = self._its.get(self.id)
        return found

    def cancel(self) -> Self:
        """Ask it to stop. What it had stays."""
        asked: Self = self._its.cancel(self.id)
        return asked

    def wait(
        self,
        *,
        timeout_seconds: float | None = None,
        progress: bool = False,
        on_progress: Callable[[Self], object] | None = None,
        check: bool = True,
    ) -> Self:
        """The job once it has ended. ``progress``: tell on standard error how far it is.

        Raises JobFailed when it ended without success (unless ``check`` is false), and WaitTimeout.
        """
        ended: Self = self._its.wait(
            self.id, timeout_seconds=timeout_seconds, progress=progress, on_progress=on_progress, check=check
        )
        return ended

    def stream(self, *, after: int = 0, progress: bool = False) -> Iterator[records.Event]:
        """Events as they happen, from the first one behind ``after`` (an event's id) to the job's end.

        A cut connection is resumed. ``progress``: also how far it is, at most once a second.
        """
        events: Iterator[records.Event] = self._its.follow(self.id, after=after, progress=progress)
        return events


class InjectionJob(Job, records.InjectionJob):
    """An injection job: ``config`` is complete, ``funnel`` accounts for every input, ``advice`` says what to try."""

    def pairs(self, **filters: Any) -> Rows[records.Pair]:
        """Its pairs, oldest first; filters as for ``errata.pairs.list``."""
        found: Rows[records.Pair] = self._its.pairs(self.id, **filters)
        return found

    def pause(self) -> Self:
        """Let nothing of it run until ``resume``."""
        paused: Self = self._its.pause(self.id)
        return paused

    def resume(self) -> Self:
        """Let it go on."""
        resumed: Self = self._its.resume(self.id)
        return resumed

    def retry(self) -> Self:
        """Try again what failed; the answer is the job that does, maybe a new one."""
        retrying: Self = self._its.retry(self.id)
        return retrying


class Estimate(Job, records.Estimate):
    """A forecast of an injection job. It has no events to stream."""


class Rejudging(Job, records.Rejudging):
    """An injection job's samples judged anew."""


class Dataset(Job, records.Dataset):
    """Pairs frozen to files; immutable once succeeded."""

    def files(self) -> builtins.list[records.DatasetFile]:
        """Its files, with their digests."""
        found: builtins.list[records.DatasetFile] = self._its.files(self.id)
        return found

    def download(self, folder: str | Path) -> Path:
        """Every file into ``folder``, verified; partial files are resumed, complete ones kept. Answers ``folder``."""
        there: Path = self._its.download(self.id, folder)
        return there

    def download_archive(self, target: str | Path) -> Path:
        """Every file as one ZIP archive, ``target``, verified and resumed."""
        there: Path = self._its.download_archive(self.id, target)
        return there

    def to_hf(self, shape: str | None = None, *, folder: str | Path | None = None) -> datasets.DatasetDict:
        """One shape with all its splits, for ``datasets``; see ``errata.datasets.to_hf``."""
        loaded: datasets.DatasetDict = self._its.to_hf(self.id, shape, folder=folder)
        return loaded

    def to_pandas(
        self, shape: str | None = None, *, split: str = "train", folder: str | Path | None = None
    ) -> pandas.DataFrame:
        """One split of one shape, as a frame; see ``errata.datasets.to_pandas``."""
        loaded: pandas.DataFrame = self._its.to_pandas(self.id, shape, split=split, folder=folder)
        return loaded


class TrainingJob(Job, records.TrainingJob):
    """A training run; ``language_model`` names its result once there is one."""

    def pause(self) -> Self:
        """Checkpoint and stop, until resumed."""
        paused: Self = self._its.pause(self.id)
        return paused

    def resume(self) -> Self:
        """Go on from the last checkpoint."""
        resumed: Self = self._its.resume(self.id)
        return resumed

    def metrics(self, **filters: Any) -> Rows[records.Metric]:
        """Metrics by optimizer step."""
        found: Rows[records.Metric] = self._its.metrics(self.id, **filters)
        return found


class Evaluation(Job, records.Evaluation):
    """A language model's answers to a problem set; ``result`` has ``accuracy`` and its 95 % ``interval``."""

    def compare(self, after: str | records.Evaluation) -> records.Comparison:
        """This one and a later one of the same problems, paired."""
        other = after if isinstance(after, str) else after.id
        compared: records.Comparison = self._its.compare(self.id, other)
        return compared

    def samples(self, **filters: Any) -> Rows[dict[str, Any]]:
        """The answers; filter: ``verdict``."""
        found: Rows[dict[str, Any]] = self._its.samples(self.id, **filters)
        return found

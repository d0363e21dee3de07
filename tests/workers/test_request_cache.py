"""Answers that are kept: a job done again generates nothing and makes the same; what differs is asked anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from api.progress import tokens_of
from demo.problems import generate
from errata.config import resolve
from models.access import TokenUse
from models.base import db_now
from models.cached_answers import CachedAnswer, Kept, find_answers, keep_answers, shrink
from models.jobs import EditRow, InjectionJob, PairRow, Shard, SolutionRow
from models.results import job_funnel
from models.session import Database
from models.settings import StoreSettings
from models.states import JobState
from models.workspaces import DEFAULT_WORKSPACE, LanguageModel, ProblemRow, ProblemSet, Workspace
from tests.openai_server import OpenAIServer
from tests.workers.injection_jobs import Deaf
from workers.engines.base import ModelSpec
from workers.engines.marks import weights_mark
from workers.engines.pool import EnginePool
from workers.judge import JudgePool
from workers.lifecycle import plan_injection
from workers.runner import Services, run_shard
from workers.settings import WorkerSettings
from workers.stages import STAGES
from workers.sweeper import Sweeper

MODEL = Path(__file__).resolve().parents[2] / "demo" / "model"
PROBLEMS = generate(count=4, seed=29)
OVERRIDES: dict[str, Any] = {
    "sampling": {"samples": 3, "temperature": 1.0, "max_tokens": 150},
    "editing": {"temperature": 0.8, "attempts": 2, "max_tokens": 64, "fallback": []},
    "proof": {"continuations": {"when": "always", "k": 2, "temperature": 1.0, "max_tokens": 100}},
    "shard_size": 2,
}
Made = dict[str, list[Any]]


class Bench:
    """Jobs over one language model in one database, run to their ends one after another."""

    def __init__(self, db: Database, folder: Path, judge: JudgePool, model: ModelSpec) -> None:
        self.db, self.folder, self.judge, self.model = db, folder, judge, model
        with db.begin() as session:
            for workspace in (DEFAULT_WORKSPACE, "ws_other"):
                session.add(Workspace(id=workspace, name=workspace))
                session.flush()
                self._add_set(session, workspace)
            session.add(
                LanguageModel(
                    id="lm", workspace_id=DEFAULT_WORKSPACE, name="m", engine=model.engine, config=model.config
                )
            )

    @staticmethod
    def _add_set(session: Any, workspace: str) -> None:
        session.add(
            ProblemSet(id=f"set_{workspace}", workspace_id=workspace, name="p", domain="math", content_sha256="")
        )
        session.flush()
        for at, each in enumerate(PROBLEMS):
            ids = {"id": f"{workspace}_{at}", "problem_set_id": f"set_{workspace}", "position": at}
            session.add(ProblemRow(**ids, question=each.question, gold_answer=each.gold_answer))

    def run(
        self, job_id: str, workspace: str = DEFAULT_WORKSPACE, pool: EnginePool | None = None, **overrides: Any
    ) -> tuple[Made, dict[str, int]]:
        """What a job makes, and its tokens. Its worker's engines start with it, unless a pool is given."""
        engines = pool or EnginePool(threads=1)
        settings = WorkerSettings(
            **{name: overrides.pop(name) for name in list(overrides) if name.startswith("cache_")}
        )
        services = Services(
            self.db, StoreSettings(ERRATA_HOME=self.folder), settings, Deaf(), engines, self.judge, dict(STAGES)
        )
        with self.db.begin() as session:
            config = resolve("errata", {**OVERRIDES, **overrides}).model_dump(mode="json")
            ids = {"workspace_id": workspace, "problem_set_id": f"set_{workspace}", "language_model_id": "lm"}
            job = InjectionJob(id=job_id, config=config, **ids)
            session.add(job)
            plan_injection(session, job, len(PROBLEMS))
        with self.db.read() as session:
            mine = select(Shard.id).where(Shard.injection_job_id == job_id).order_by(Shard.position)
            shards = list(session.scalars(mine))
        try:
            for shard in shards:
                while run_shard(services, shard) == "advanced":
                    pass
        finally:
            if pool is None:
                engines.close()
        with self.db.read() as session:
            row = session.get_one(InjectionJob, job_id)
            assert row.state == JobState.SUCCEEDED, row.error
            funnel = job_funnel(session, row)
            funnel.check()
            return self._made(session, job_id), tokens_of(funnel)

    @staticmethod
    def _made(session: Any, job_id: str) -> Made:
        def position(problem_id: str) -> str:
            return problem_id.rpartition("_")[2]

        solutions = session.scalars(select(SolutionRow).where(SolutionRow.job_id == job_id))
        edited = session.scalars(select(EditRow).where(EditRow.job_id == job_id))
        pairs = session.scalars(select(PairRow).where(PairRow.job_id == job_id))
        return {
            "solutions": sorted((position(s.problem_id), s.sample_index, s.text, s.verdict) for s in solutions),
            "edits": sorted((position(e.problem_id), e.step_index, e.kind, e.edited or "") for e in edited),
            "pairs": sorted((position(p.problem_id), p.type, p.chosen, p.rejected) for p in pairs),
        }

    def used(self, job_id: str) -> int:
        """The generated tokens that are counted for a job's workspace."""
        with self.db.read() as session:
            return session.scalar(select(func.sum(TokenUse.tokens)).where(TokenUse.subject_id == job_id)) or 0

    def kept(self) -> int:
        """How many answers are kept."""
        with self.db.read() as session:
            return session.scalar(select(func.count()).select_from(CachedAnswer)) or 0


@pytest.fixture(scope="module")
def judge() -> Iterator[JudgePool]:
    with JudgePool(1) as judge:
        yield judge


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The miniature in a folder of the test's own."""
    return Path(shutil.copytree(MODEL, tmp_path / "weights"))


def test_a_job_done_again_generates_nothing_and_makes_the_same_pairs(
    database: Database, tmp_path: Path, weights: Path, judge: JudgePool
) -> None:
    bench = Bench(database, tmp_path, judge, ModelSpec("m", "transformers", {"path": str(weights), "device": "cpu"}))
    first, spent = bench.run("inj_1")
    assert first["pairs"], "a job without pairs shows little"
    assert (spent["completion"] > 100, spent["reused"]) == (True, 0)
    second, again = bench.run("inj_2", pool=Absent())
    assert second == first
    assert again == {"prompt": 0, "completion": 0, "cached": 0, "reused": spent["completion"]}
    assert (bench.used("inj_1"), bench.used("inj_2")) == (spent["completion"], 0)


class Absent(EnginePool):
    """Engines that can tell what they would answer with, and would fail if they were asked."""

    def generate(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("an engine was asked")


def test_what_differs_is_generated(sqlite_database: Database, tmp_path: Path, weights: Path, judge: JudgePool) -> None:
    config = {"path": str(weights), "device": "cpu"}
    bench = Bench(sqlite_database, tmp_path, judge, ModelSpec("m", "transformers", config))
    pool = EnginePool(threads=1)
    first, spent = bench.run("inj_1", pool=pool)
    more, tokens = bench.run("inj_more", pool=pool, sampling={**OVERRIDES["sampling"], "samples": 4, "adaptive": False})
    assert set(first["solutions"]) <= set(more["solutions"]), "the samples there were, and the fourth ones"
    assert tokens["completion"] > 0
    assert tokens["reused"] > 0
    kept = bench.kept()
    for name, changed in (
        ("inj_seed", {"seed": 1}),
        ("inj_other", {"workspace": "ws_other"}),
        ("inj_hot", {"sampling": {**OVERRIDES["sampling"], "temperature": 0.9}}),
        ("inj_off", {"cache": False}),
        ("inj_operator", {"cache_answers": False}),
    ):
        made, tokens = bench.run(name, pool=pool, **changed)
        assert tokens["completion"] > 0, name
        if name in ("inj_other", "inj_off", "inj_operator"):
            assert (made, tokens) == (first, spent), "nothing is taken from elsewhere, and the texts are the same"
        assert (bench.kept() > kept) is (name not in ("inj_off", "inj_operator")), name
        kept = bench.kept()
    pool.close()


def test_weights_in_place_of_others_are_asked_anew_also_by_a_worker_that_has_the_old_ones_loaded(
    sqlite_database: Database, tmp_path: Path, weights: Path, judge: JudgePool
) -> None:
    config = {"path": str(weights), "device": "cpu"}
    bench = Bench(sqlite_database, tmp_path, judge, ModelSpec("m", "transformers", config))
    pool = EnginePool(threads=1)
    first, spent = bench.run("inj_1", pool=pool)
    kept = bench.kept()
    file = weights / "model.safetensors"
    times = file.stat()
    save_file({name: 1.05 * each for name, each in load_file(file).items()}, file, {"format": "pt"})
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # as in an image whose files have one time
    old, tokens = bench.run("inj_old", pool=pool)
    pool.close()
    assert (old, tokens["reused"], tokens["completion"]) == (first, 0, spent["completion"]), "made by what is loaded"
    assert bench.kept() == kept, "and not kept as what stands in the folder now"
    new, tokens = bench.run("inj_new")
    assert (tokens["reused"], new["solutions"] != first["solutions"]) == (0, True)


def test_a_served_model_is_known_by_the_revision_that_its_entry_names(
    sqlite_database: Database, tmp_path: Path, judge: JudgePool
) -> None:
    server = OpenAIServer(MODEL)
    bench = Bench(sqlite_database, tmp_path, judge, ModelSpec("m", "openai", server.config(tokenizer=str(MODEL))))

    def entry(**more: Any) -> None:
        config = server.config(tokenizer=str(MODEL), **more)
        with sqlite_database.begin() as session:
            session.execute(update(LanguageModel).values(config=config))

    first, spent = bench.run("inj_1")
    assert bench.kept() == 0, "nobody knows what stands behind the name"
    entry(revision="a")
    assert bench.run("inj_a1") == (first, spent)
    asked = len(server.seen)
    made, tokens = bench.run("inj_a2")
    assert (made, tokens["completion"], tokens["reused"]) == (first, 0, spent["completion"])
    entry(revision="a", concurrency=3)
    assert bench.run("inj_a3")[1]["completion"] == 0, "how it is asked changes no answer"
    assert len(server.seen) == asked
    entry(revision="b")
    assert bench.run("inj_b")[1]["reused"] == 0
    entry(revision="a")
    server.version = "1.2.4"
    assert bench.run("inj_upgraded")[1]["reused"] == 0, "the server says that it is another one"
    entry()
    assert bench.run("inj_any", cache_unknown_revisions=True)[1]["reused"] == 0
    assert bench.run("inj_any_2", cache_unknown_revisions=True)[1]["completion"] == 0, "the operator answers for it"
    server.close()


def test_sampled_answers_of_servers_that_take_no_seed_are_not_kept(
    sqlite_database: Database, tmp_path: Path, judge: JudgePool
) -> None:
    server = OpenAIServer(MODEL, owner="sglang")
    model = ModelSpec("m", "openai", server.config(tokenizer=str(MODEL), revision="a"))
    bench = Bench(sqlite_database, tmp_path, judge, model)
    bench.run("inj_1")
    assert bench.kept() == 0
    greedy = {"samples": 1, "temperature": 0.0, "max_tokens": 150}
    bench.run("inj_2", sampling=greedy)
    assert bench.kept() == len(PROBLEMS), "greedy ones are"
    server.close()


@pytest.mark.parametrize("broken", ["find_answers", "keep_answers"])
def test_a_database_that_fails_the_cache_fails_no_shard(
    broken: str,
    sqlite_database: Database,
    tmp_path: Path,
    weights: Path,
    judge: JudgePool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> Any:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    monkeypatch.setattr(f"workers.stages.request_cache.{broken}", fail)
    config = {"path": str(weights), "device": "cpu"}
    bench = Bench(sqlite_database, tmp_path, judge, ModelSpec("m", "transformers", config))
    _, tokens = bench.run("inj_1")
    assert tokens["completion"] > 0


def _answers(names: str, size: int = 1000) -> dict[bytes, Kept]:
    return {name.encode(): Kept(name * size, "stop", 5) for name in names}


def _names(db: Database) -> str:
    with db.read() as session:
        return "".join(sorted(key.decode() for key in session.scalars(select(CachedAnswer.key))))


def test_of_two_writers_the_first_counts_and_no_workspace_sees_anothers(database: Database) -> None:
    with database.begin() as session:
        session.add_all([Workspace(id=name, name=name) for name in ("one", "two")])
    assert keep_answers(database, "one", _answers("ab")) == 2
    assert keep_answers(database, "one", {b"b": Kept("late", "length", 1), **_answers("c")}) == 1
    assert find_answers(database, "one", [b"b", b"x"]) == {b"b": Kept("b" * 1000, "stop", 5)}
    assert find_answers(database, "two", [b"a", b"b"]) == {}


def test_old_answers_go_and_those_beyond_the_room_the_ones_used_longest_ago_first(database: Database) -> None:
    with database.begin() as session:
        session.add(Workspace(id="one", name="one"))
    keep_answers(database, "one", _answers("abcdef"))
    with database.begin() as session:
        for days, name in ((40, "a"), (35, "b"), (20, "c"), (10, "d")):
            idle = db_now(-86_400.0 * days)
            session.execute(update(CachedAnswer).where(CachedAnswer.key == name.encode()).values(used_at=idle))
    find_answers(database, "one", [b"b"])  # used again: it is as young as the new ones
    settings = WorkerSettings(cache_days=30, cache_megabytes=3500 / 2**20)
    Sweeper(database, Deaf(), settings).delete_old()
    assert _names(database) == "bef", "a was old, and there was room for three"
    assert shrink(database, 10_000) == 0
    assert shrink(database, 0) == 3


def test_a_mark_tells_folders_apart_and_knows_no_branch(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(100_000))
    mark = weights_mark({"path": str(folder)})
    assert mark == weights_mark({"path": str(folder), "device": "cpu"})
    changed = bytearray(100_000)
    changed[50_000:60_000] = b"x" * 10_000
    times = (folder / "model.safetensors").stat()
    (folder / "model.safetensors").write_bytes(changed)
    os.utime(folder / "model.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert weights_mark({"path": str(folder)}) not in (mark, None)
    assert weights_mark({"path": "org/model"}) is weights_mark({"path": "org/model", "revision": "main"}) is None
    assert weights_mark({"path": "org/model", "revision": "a" * 40}) is not None
    adapter = tmp_path / "a"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "org/model"}')
    assert weights_mark({"path": str(adapter)}) is None, "its base may change"
    (adapter / "adapter_config.json").write_text(f'{{"base_model_name_or_path": "{folder}"}}')
    before = weights_mark({"path": str(adapter)})
    (folder / "model.safetensors").write_bytes(b"other")
    assert weights_mark({"path": str(adapter)}) not in (before, None)

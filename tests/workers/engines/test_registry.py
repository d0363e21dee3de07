"""One registration makes an engine: its settings are checked, its child runs, and what is trained on it is served."""

from __future__ import annotations

from typing import get_args

import pytest

from errata.types import Message, Prompt
from workers.engines.base import EngineError, GenerationRequest, Journal, ModelSpec, ScoreRequest, load_class
from workers.engines.entry_settings import PRICED, OpenAISettings, TransformersSettings, VllmSettings
from workers.engines.openai_wire import SERVER_KINDS
from workers.engines.pool import EnginePool
from workers.engines.registry import ENGINES, Config, EngineKind, Trained, can_score, checked, interpreters, served_as
from workers.settings import WorkerSettings

TRAINED = Trained("train_1", "/out", None)
REQUEST = GenerationRequest(Prompt((Message("user", "one and one"),), "", "v"), n=2)


class ToySettings(TransformersSettings):
    """A path, and what every answer ends with."""

    end: str = "!"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> EngineKind:
    """The one registration that the toy engine takes."""

    def serve(base: Config, trained: Trained) -> Config | None:
        return {**base, "path": trained.path} if trained.adapter_rank is None else None

    kind = EngineKind("toy", ToySettings, "tests.workers.engines.toy_engine:ToyEngine", serve)
    monkeypatch.setitem(ENGINES, "toy", kind)
    return kind


def test_a_registered_engine_answers_through_the_pools_child(toy: EngineKind) -> None:
    pool, journal = EnginePool(), Journal()
    config = checked("toy", {"path": "/base", "end": "?"})
    [completions] = pool.generate(ModelSpec("m", "toy", config), [REQUEST], journal=journal)
    assert [completion.text for completion in completions] == ["ONE AND ONE?"] * 2
    assert (journal.engine, journal.version) == ("toy", "toy 1")
    pool.close()


def test_an_engine_that_scores_no_texts_is_refused_by_name(toy: EngineKind) -> None:
    pool = EnginePool()
    asked = ScoreRequest(REQUEST.prompt, "two")
    with pytest.raises(EngineError, match=r"^language model 'm': .*capability prompt_logprobs"):
        pool.score(ModelSpec("m", toy.name, {"path": "/base"}), [asked])
    pool.close()


def test_whether_texts_can_be_scored_is_read_off_an_entry_where_it_says_so(toy: EngineKind) -> None:
    server = {"base_url": "http://localhost:1/v1", "model": "m"}
    assert [can_score(engine, {"path": "/base"}) for engine in ("transformers", "vllm")] == [True, True]
    assert can_score("openai", server) is False, "no tokenizer, no ids to score"
    by_ids = {**server, "tokenizer": "/base"}
    told = {make: can_score("openai", {**by_ids, "server": make}) for make in ("auto", "vllm", "openai")}
    assert told == {"auto": None, "vllm": True, "openai": False}
    assert (can_score(toy.name, {}), can_score("gone", {})) == (None, None)


def test_what_is_trained_on_it_is_served_by_it_or_by_the_default_engine(toy: EngineKind) -> None:
    assert served_as("toy", {"path": "/base", "end": "?"}, TRAINED) == ("toy", {"path": "/out", "end": "?"})
    adapter = Trained("train_1", "/out", 8)
    assert served_as("toy", {"path": "/base"}, adapter) == ("transformers", {"path": "/out"})
    assert served_as("gone", {"path": "/base"}, TRAINED) == ("transformers", {"path": "/out"})


def test_its_settings_are_checked(toy: EngineKind) -> None:
    with pytest.raises(ValueError, match="engine 'toy' needs path; engine 'toy' has no setting ende; known are path"):
        checked("toy", {"ende": "!"})


def test_an_engine_that_nobody_registered_is_named() -> None:
    with pytest.raises(EngineError, match="no engine named 'onnx' is installed here"):
        EnginePool().generate(ModelSpec("m", "onnx"), [REQUEST])


def test_a_class_that_cannot_be_imported_is_told_with_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "lost", EngineKind("lost", ToySettings, "no.such:Engine", lambda *_: None))
    with pytest.raises(EngineError, match="engine 'lost' cannot start here: No module named 'no'"):
        EnginePool().generate(ModelSpec("m", "lost"), [REQUEST])


def test_every_registration_names_what_there_is() -> None:
    assert load_class(ENGINES["openai"].implementation).__name__ == "OpenAIEngine"
    assert load_class(ENGINES["transformers"].implementation).__name__ == "TransformersEngine"
    assert interpreters(WorkerSettings().model_copy(update={"vllm_python": "/py"})) == {"vllm": "/py"}


def test_vllms_settings_become_its_own_arguments() -> None:
    given = {"path": "org/big", "tensor_parallel": 2, "max_context": 4096, "max_sequences": 8, "adapter": "/a"}
    settings = VllmSettings.model_validate(checked("vllm", given))
    assert settings.model_dump(by_alias=True, exclude_none=True, exclude={"adapter", *PRICED}) == {
        "model": "org/big",
        "tensor_parallel_size": 2,
        "max_model_len": 4096,
        "max_num_seqs": 8,
    }


def test_the_servers_that_a_setting_may_name_are_those_there_are() -> None:
    assert set(get_args(OpenAISettings.model_fields["server"].annotation)) == {"auto", *SERVER_KINDS}


@pytest.mark.parametrize("engine", ["transformers", "vllm", "gone"])
def test_a_trained_model_is_prompted_as_its_base(engine: str) -> None:
    asked = {"few_shot": 0, "template_kwargs": {"enable_thinking": False}, "date": "2025-03-04"}
    _, config = served_as(engine, {"path": "/base", **asked}, TRAINED)
    assert config == {"path": "/out", **asked}

"""The model that edits may be another than the one that solves; an operator's kind is held to its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from errata.kinds import replace_custom
from errata.kinds.custom import CustomKind
from errata.proof import Outcome, Proof
from errata.types import Domain, Evidence, EvidenceKind
from models.jobs import InjectionJob
from tests.workers.injection_jobs import pairs_of, post_job, run_shards
from tests.workers.scripted import MODEL
from tests.workers.test_continuations import Propagating
from workers.runner import Services
from workers.stages.loading import _check_kinds
from workers.stages.prove import _held_to_check

KIND = CustomKind(name="own", instruction="Change one number of this step.", check="identity")


@pytest.fixture
def own_kind() -> Iterator[None]:
    replace_custom([KIND.kind()])
    yield
    replace_custom([])


def test_edits_are_asked_of_the_editor_model(services: Services) -> None:
    services.engines = engine = Propagating()
    post_job(
        services, "errata", model=MODEL, editing={"editor_model": "editor", "fallback": []}, proof={"unproven": "keep"}
    )
    with services.db.begin() as session:  # the job itself has no model: its solutions were brought
        session.execute(update(InjectionJob).values(language_model_id=None))
    run_shards(services)
    assert engine.models == {"editor"}
    pairs = pairs_of(services)
    assert pairs
    assert {pair.language_model for pair in pairs} == {"editor"}


@pytest.mark.usefixtures("own_kind")
def test_an_operators_kind_is_proven_by_its_evidence_or_not_at_all() -> None:
    job: Any = SimpleNamespace(domain=Domain.MATH)
    for kind, found, expected in (
        ("own", EvidenceKind.IDENTITY, Outcome.PROVEN),
        ("own", EvidenceKind.CONTRADICTION, Outcome.UNPROVEN),
        ("operator", EvidenceKind.CONTRADICTION, Outcome.PROVEN),
    ):
        edit: Any = SimpleNamespace(kind=kind)
        assert _held_to_check(job, edit, Proof(Outcome.PROVEN, Evidence(found))).outcome is expected


@pytest.mark.usefixtures("own_kind")
def test_a_kind_that_changed_since_the_job_was_accepted_stops_it() -> None:
    _check_kinds({"edit": "edit-errata/1", "kind:own": KIND.version}, Domain.MATH)
    for versions in ({"kind:own": "0" * 12}, {"kind:gone": KIND.version}):
        with pytest.raises(ValueError, match="is not the one that the job was accepted with"):
            _check_kinds(versions, Domain.MATH)

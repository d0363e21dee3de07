"""The pages of what jobs lead to: datasets with their cards, training runs with their curves, evaluations."""

from __future__ import annotations

from pathlib import Path

from fastapi.testclient import TestClient

from api.pages import training
from models.outputs import Dataset, Metric, TrainingRun
from models.session import Database
from tests.api.test_pages import client, get, rows
from tests.dashboard_rows import HOSTILE, Filled

__all__ = ["client", "rows"]  # fixtures


def test_training_and_evaluation_pages_state_their_figures(client: TestClient, rows: Filled) -> None:
    page = get(client, f"/training/{rows.training}")
    assert "step 60 of 80" in page.text
    points = [a["points"] for tag, a in page.elements if tag == "polyline"]
    assert len(points[0].split()) == 59  # one step had no finite loss
    assert len(points[1].split()) == 3  # the held-out loss
    assert page.by_tag["h3"][:3] == ["Margin", "Step pairs: log-probability of the differing tokens", "Learning rate"]
    assert [cell for cell in page.by_tag["th"] if cell in ("operator", "calculation")] == ["calculation", "operator"]
    assert "75 %" in page.text
    assert "3.4 MB" in page.text
    assert "No step recorded yet" in get(client, f"/training/{rows.waiting_training}").text
    page = get(client, f"/evaluations/{rows.evaluations[1]}")
    assert "95 % interval 59.5 % to 63.8 %" in page.text
    assert "36.5 %" in page.text  # the other evaluation of the same problems
    page = get(client, f"/datasets/{rows.dataset}")
    assert "step/train.jsonl" in page.text
    assert "whole (default)" in page.text
    assert "TRL: DPOTrainer, ORPOTrainer" in page.text
    assert "stop after one step" in page.text
    assert '"rejected": "Let\'s think step by step.' in page.text, "an example row"
    assert "whole.left_out.no_rest" in page.text
    assert "Only 2 of 3 pairs have a whole form" in page.text, "the dataset's notes"
    assert "apart with AUC 0.53" in page.text
    assert "0.70 (0.60 to 0.80)" in page.text
    assert "Every label was found right again." in page.text
    assert 'load_dataset("./ds_pears", "whole", split="train")' in page.text


def test_a_comparison_is_proposed(client: TestClient, rows: Filled) -> None:
    before, after = rows.evaluations[:2]

    def chosen(query: str) -> list[str]:
        page = get(client, f"/compare{query}")
        return [str(a["value"]) for tag, a in page.elements if tag == "option" and "selected" in a]

    assert sorted(chosen("")) == sorted([before, after]), "the two newest of one set, and not the same twice"
    assert chosen(f"?after={before}") == [after, before]
    assert chosen(f"?before={before}") == [before, after]
    assert chosen("?after=eval_nowhere") == []
    assert f"/compare?after={after}" in get(client, f"/evaluations/{after}").links()


def test_a_card_is_rendered_and_runs_nothing(
    client: TestClient, database: Database, rows: Filled, tmp_path: Path
) -> None:
    with database.begin() as session:
        dataset = session.get_one(Dataset, rows.dataset)
        dataset.folder = "datasets/pears"
        dataset.manifest = {
            **(dataset.manifest or {}),
            "files": [{"path": "README.md", "bytes": 9, "sha256": "ab" * 32}],
        }
    folder = tmp_path / "files" / "datasets" / "pears"
    folder.mkdir(parents=True)
    told = f"# Pears\n\n| a | b |\n|---|---|\n| {HOSTILE[:40]} | [x](javascript:alert(1)) \u202e|\n"
    (folder / "README.md").write_text(f"---\nconfigs: []\n---\n{told}", encoding="utf-8")
    assert "/datasets/ds_pears/card" in get(client, f"/datasets/{rows.dataset}").links()
    page = get(client, f"/datasets/{rows.dataset}/card")
    assert page.by_tag["h1"] == ["Pears"]
    assert page.by_tag["td"][0] == HOSTILE[:40]
    assert "configs" not in page.text
    assert "[U+202E]" in page.text
    assert not [link for link in page.links() if link.startswith("javascript")]
    get(client, f"/datasets/{rows.dataset[:-1]}/card", 404)


def test_a_long_runs_curve_is_thinned(database: Database, rows: Filled) -> None:
    with database.begin() as session:
        session.add_all(
            Metric(run_id=rows.training, step=s, phase="train", values={"loss": 1.0}) for s in range(61, 3001)
        )
    with database.read() as session:
        run = session.get_one(TrainingRun, rows.training)
        shown = training.training_context(session, run)
    assert shown["chart"] is not None
    assert 100 < len(shown["chart"].lines[0].points.split()) <= training.MAX_POINTS + 1
    assert len(shown["table"]) == training.TABLE_ROWS

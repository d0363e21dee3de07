"""A problem set as a task folder of lm-eval: what is in it, and that its scorer judges as Errata does, by itself."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.lm_eval import task_name
from errata.prompts import solve_prompt
from tests.api.conftest import CheckedClient

PROBLEMS = [
    {"question": "How much is 1/2 + 1/4?", "gold_answer": "\\frac{3}{4}", "id": "mine"},
    {"question": "How long, in m? “é”", "gold_answer": "10", "tolerance": {"rel": 0.1}, "meta": {"a": 1}},
    {"question": "Both roots of x^2 = 4?", "gold_answer": "2, -2", "unordered": True},
]


def downloaded(client: CheckedClient, folder: Path, **body: Any) -> Path:
    """The task's folder, unpacked."""
    made = client.post("/v1/problem-sets", json={"name": "Small Sums!", "domain": "math", "problems": PROBLEMS} | body)
    answer = client.get(f"/v1/problem-sets/{made.json()['id']}/lm-eval?max_tokens=77")
    assert answer.headers["content-type"] == "application/zip"
    again = client.get(f"/v1/problem-sets/{made.json()['id']}/lm-eval?max_tokens=77")
    assert again.content == answer.content
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder / "errata_small_sums"


def verdicts(task: Path, answers: list[str]) -> list[dict[str, float]]:
    """What the downloaded scorer says, in a Python that finds nothing of this checkout."""
    script = (
        f"import sys, json; sys.path[:0] = [{str(task)!r}, {sysconfig.get_path('purelib')!r}]\n"
        "import utils\n"
        f"docs = [json.loads(line) for line in open({str(task / 'problems.jsonl')!r})]\n"
        f"answers = {answers!r}\n"
        "print(json.dumps([utils.process_results(doc, [a]) for doc, a in zip(docs, answers)]))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, float]] = json.loads(done.stdout)
    return found


def test_the_folder_holds_task_problems_and_scorer(client: CheckedClient, tmp_path: Path) -> None:
    task = downloaded(client, tmp_path)
    text = (task / "errata_small_sums.yaml").read_text()
    told = yaml.safe_load(text.replace("!function ", ""))
    assert told["task"] == "errata_small_sums"
    assert told["generation_kwargs"]["max_gen_toks"] == 77
    assert (told["custom_dataset"], told["process_results"]) == ("utils.problems", "utils.process_results")
    assert "unsafe_code" not in told
    rows = [json.loads(line) for line in (task / "problems.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["question"] for row in rows] == [problem["question"] for problem in PROBLEMS]
    assert rows[0]["prompt"] == solve_prompt("How much is 1/2 + 1/4?").messages[0].content
    assert rows[0]["id"] == "mine"
    assert all(isinstance(row["meta"], str) for row in rows)


def test_the_scorer_judges_as_errata_does(client: CheckedClient, tmp_path: Path) -> None:
    task = downloaded(client, tmp_path)
    right = verdicts(task, ["So \\boxed{0.75}.", "It is 10.5 m. \\boxed{10.5}", "The answer is \\boxed{-2, 2}."])
    assert [found["exact_match"] for found in right] == [1.0, 1.0, 1.0]
    wrong = verdicts(task, ["So \\boxed{0.7}.", "\\boxed{12}", "I do not know"])
    assert [found["exact_match"] for found in wrong] == [0.0, 0.0, 0.0]
    assert [found["unparsable"] for found in wrong] == [0.0, 0.0, 1.0]


def test_code_runs_only_where_lm_eval_is_told_so(client: CheckedClient, tmp_path: Path) -> None:
    problem = {"question": "Write f that doubles.", "gold_answer": "def f(x): return 2 * x", "meta": {"tests": []}}
    problem["meta"] = {"tests": ["assert f(2) == 4"]}
    task = downloaded(client, tmp_path, domain="code", problems=[problem])
    assert (
        yaml.safe_load((task / "errata_small_sums.yaml").read_text().replace("!function ", ""))["unsafe_code"] is True
    )


def test_a_set_that_is_not_there_is_a_404(client: CheckedClient) -> None:
    assert client.get("/v1/problem-sets/pset_none/lm-eval").status_code == 404


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("GSM8K test", "errata_gsm8k_test"),
        ("算术", "errata_pset_1"),
        ("a/../b", "errata_a_b"),
        ("x" * 99, "errata_" + "x" * 60),
    ],
)
def test_names_become_task_names(name: str, task: str) -> None:
    assert task_name(name, "pset_1") == task

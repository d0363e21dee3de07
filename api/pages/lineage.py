"""The graph of language models: from the one that no run of ours made to everything that was trained from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from api.pages.format import short
from models.outputs import Dataset, TrainingRun
from models.states import TERMINAL
from models.workspaces import LanguageModel

MOST_NODES = 60
MOST_DEPTH = 20
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _EDGE = 214, 50, 258, 66, 6  # SVG units
_LETTERS = 21  # of a title in a node, which is as wide as so many capitals


@dataclass(frozen=True, slots=True)
class Node:
    """A model, or a run that has made none yet. ``x`` and ``y``: its upper left corner; ``about``: how it was made."""

    title: str
    about: str
    url: str
    x: int
    y: int
    current: bool
    open: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and the paths between them, in SVG units. ``cut``: there are more models than are drawn."""

    nodes: tuple[Node, ...]
    edges: tuple[str, ...]
    width: int
    height: int
    cut: bool
    node_width: int = _WIDTH
    node_height: int = _HEIGHT


@dataclass(slots=True)
class _Tree:
    """Runs by the model that they begin with, and the models that they made."""

    root: LanguageModel
    runs: dict[str, list[TrainingRun]]
    models: dict[str, LanguageModel]
    datasets: dict[str, str]
    cut: bool


def ancestors(
    session: Session, row: LanguageModel, workspace_id: str
) -> list[tuple[LanguageModel, TrainingRun, Dataset]]:
    """From the model back to the one that no run of the workspace made: model, its run, the run's dataset."""
    found: list[tuple[LanguageModel, TrainingRun, Dataset]] = []
    at: LanguageModel | None = row
    while at is not None and at.training_run_id and len(found) < MOST_DEPTH:
        run = session.get(TrainingRun, at.training_run_id)
        if run is None or run.workspace_id != workspace_id:
            break
        found.append((at, run, session.get_one(Dataset, run.dataset_id)))
        at = session.get(LanguageModel, run.base_model_id)
    return found


def graph(session: Session, row: LanguageModel, root: LanguageModel, workspace_id: str) -> Graph | None:
    """Everything that was trained from ``root``, around ``row``; None where nothing was."""
    tree = _tree(session, root, workspace_id)
    if not tree.runs:
        return None
    nodes: list[Node] = []
    edges: list[str] = []
    rows = iter(range(MOST_NODES + 1))

    def place(model: LanguageModel | None, run: TrainingRun | None, depth: int) -> int:
        """Draw a model or run with everything below it; the row in which it stands."""
        below = tree.runs.get(model.id, []) if model is not None and depth < MOST_DEPTH else []
        placed = [place(tree.models.get(each.output_model_id or ""), each, depth + 1) for each in below]
        at = placed[0] if placed else next(rows)
        nodes.append(_node(tree, model, run, depth, at, row))
        edges.extend(_edge(depth, at, other) for other in placed)
        return at

    place(root, None, 0)
    width = max(node.x for node in nodes) + _WIDTH + 2 * _EDGE
    height = max(node.y for node in nodes) + _HEIGHT + 2 * _EDGE
    return Graph(tuple(nodes), tuple(edges), width, height, tree.cut)


def _tree(session: Session, root: LanguageModel, workspace_id: str) -> _Tree:
    tree = _Tree(root, defaultdict(list), {}, {}, cut=False)
    wanted, count = [root.id], 1
    for _ in range(MOST_DEPTH):
        runs = list(_runs_from(session, wanted, workspace_id, MOST_NODES - count))
        tree.cut |= len(runs) > MOST_NODES - count
        runs = runs[: MOST_NODES - count]
        count += len(runs)
        for run in runs:
            tree.runs[run.base_model_id].append(run)
        made = [run.output_model_id for run in runs if run.output_model_id]
        if not made:
            break
        tree.models |= {each.id: each for each in session.scalars(_by_id(LanguageModel, made))}
        wanted = made
    used = {run.dataset_id for runs in tree.runs.values() for run in runs}
    tree.datasets = {each.id: each.name for each in session.scalars(_by_id(Dataset, sorted(used)))}
    return tree


def _by_id(table: Any, ids: Sequence[str]) -> Any:
    return select(table).where(table.id.in_(ids))


def _runs_from(session: Session, models: Sequence[str], workspace_id: str, limit: int) -> Iterator[TrainingRun]:
    """The runs that begin with one of the models and made another, or still may."""
    alive = or_(TrainingRun.output_model_id.is_not(None), TrainingRun.state.not_in(sorted(TERMINAL)))
    own = (TrainingRun.base_model_id.in_(models), TrainingRun.workspace_id == workspace_id, alive)
    yield from session.scalars(select(TrainingRun).where(*own).order_by(TrainingRun.created_at).limit(limit + 1))


def _node(
    tree: _Tree, model: LanguageModel | None, run: TrainingRun | None, depth: int, at: int, row: LanguageModel
) -> Node:
    title = model.name if model is not None else run.output_name if run is not None else ""
    url = f"/models/{quote(model.name, safe='')}" if model is not None else f"/training/{run.id if run else ''}"
    objective = f"{run.config.get('objective') or 'trained'} on {tree.datasets[run.dataset_id]}" if run else ""
    about = objective or (model.engine if model is not None else "")
    current = model is not None and model.id == row.id
    x, y = depth * _ACROSS + _EDGE, at * _DOWN + _EDGE
    return Node(short(title, _LETTERS), short(about, _LETTERS + 7), url, x, y, current, model is None)


def _edge(depth: int, start: int, end: int) -> str:
    """A path from a model to what was trained from it."""
    x, y = depth * _ACROSS + _WIDTH + _EDGE, start * _DOWN + _HEIGHT // 2 + _EDGE
    to_x, to_y = (depth + 1) * _ACROSS + _EDGE, end * _DOWN + _HEIGHT // 2 + _EDGE
    middle = (x + to_x) // 2
    return f"M{x} {y} C{middle} {y} {middle} {to_y} {to_x} {to_y}"

"""The statements of ``bench.store`` and the expressions of its texts, by the number ``n`` of a problem."""

from __future__ import annotations

#: One step pair in ten thousand is of this kind: a filter with few pairs among many.
RARE_KIND = "quantity"

_COST = "(20 + mod(n, 97))"
_HAS = "(10000 + n)"
_LEFT = f"({_HAS} - {_COST})"
_FIRST = f"'Step 1: Pay 4 * 5 + ' || mod(n, 97) || ' = ' || {_COST} || E'.\\n'"
_SECOND = f"'Step 2: So ' || {_HAS} || ' - ' || {_COST} || ' = ' || {_LEFT} || E' left.\\n'"
_THIRD = "'Step 3: The answer is \\boxed{' || " + _LEFT + " || '}.'"

#: What stands for ``<question>`` and its like in the statements: a problem, its solution, and its edits.
WHOLE = {
    "question": f"'She has ' || {_HAS} || ' dollars, buys 4 pens at 5 dollars and pays ' || mod(n, 97)"
    " || ' dollars more. How many dollars are left after she has paid for all of it?'",
    "gold": f"CAST({_LEFT} AS TEXT)",
    "right": f"{_FIRST} || {_SECOND} || {_THIRD}",
    "wrong": f"replace({_FIRST} || {_SECOND} || {_THIRD}, '4 * 5', '4 + 5')",
    "prefix": f"CASE k WHEN 0 THEN '' ELSE {_FIRST} END",
    "chosen": f"CASE k WHEN 0 THEN {_FIRST} ELSE {_SECOND} END",
    "rejected": f"CASE k WHEN 0 THEN replace({_FIRST}, '4 * 5', '4 * 6')"
    f" WHEN 1 THEN replace({_SECOND}, ' - ', ' + ') ELSE replace({_SECOND}, ' left', '1 left') END",
    "rest": f"CASE k WHEN 0 THEN {_SECOND} || {_THIRD} ELSE {_THIRD} END",
}
SHORT = {
    "question": "'q' || n",
    "gold": "'1'",
    "right": "'r' || n",
    "wrong": "'w' || n",
    "prefix": "''",
    "chosen": "'c' || n",
    "rejected": "'x' || n",
    "rest": "''",
}

_SERIES = "FROM generate_series(CAST(:start: AS INTEGER), CAST(:stop: AS INTEGER) - 1) AS n"


def _several(each: int, name: str) -> str:
    """``each`` rows a problem, numbered by ``name`` from 0, problem after problem as stages write them."""
    row = f"generate_series({each} * CAST(:start: AS INTEGER), {each} * CAST(:stop: AS INTEGER) - 1) AS row"
    return f"FROM (SELECT row / {each} AS n, mod(row, {each}) AS {name} FROM {row}) AS numbers"


_PROBLEM = "'prob_' || :name: || lpad(n::text, 8, '0')"
_SOLUTION = "'sol_' || :name: || lpad(n::text, 8, '0')"
_SHARD = "'shard_' || :name: || n / :per:"

PROBLEMS = (
    "INSERT INTO problems (id, problem_set_id, position, external_id, question, gold_answer, meta)"
    f" SELECT {_PROBLEM}, :set:, n, 'own-' || n, <question>, <gold>, '{{}}' {_SERIES}"
)
SOLUTIONS = (
    "INSERT INTO solutions (id, job_id, problem_id, shard_id, sample_index, text, verdict, source, label, role,"
    " prompt_tokens, completion_tokens, cached_tokens, created_at)"
    f" SELECT {_SOLUTION} || CASE s WHEN 0 THEN 'r' ELSE 'w' END, :job:, {_PROBLEM}, {_SHARD}, s,"
    " CASE s WHEN 0 THEN <right> ELSE <wrong> END, CASE s WHEN 0 THEN 'correct' ELSE 'incorrect' END, 'brought',"
    f" s = 0, CASE s WHEN 0 THEN 'correct' ELSE 'incorrect' END, 0, 0, 0, now() {_several(2, 's')}"
)
# k is 3 for the full pair. A millisecond a problem: times rise as those of stages do.
PAIRS = (
    "INSERT INTO pairs (id, workspace_id, job_id, problem_id, shard_id, solution_id, rejected_solution_id, pair_key,"
    ' type, question, prefix, chosen, rejected, step_index, start, "end", error_kind, form, editor, distance,'
    " evidence_kind, evidence, rest, source, prompt_version, seed, created_at)"
    f" SELECT 'pair_' || :name: || lpad(n::text, 8, '0') || k, :workspace:, :job:, {_PROBLEM}, {_SHARD},"
    f" {_SOLUTION} || 'r', CASE k WHEN 3 THEN {_SOLUTION} || 'w' END,"
    f" CASE k WHEN 3 THEN 'full:' || {_PROBLEM} ELSE 'step:' || {_SOLUTION} || 'r:' || k END,"
    " CASE k WHEN 3 THEN 'full' ELSE 'step' END, <question>,"
    " CASE k WHEN 3 THEN '' ELSE <prefix> END, CASE k WHEN 3 THEN <right> ELSE <chosen> END,"
    " CASE k WHEN 3 THEN <wrong> ELSE <rejected> END, CASE k WHEN 3 THEN NULL WHEN 0 THEN 0 ELSE 1 END,"
    " CASE WHEN k < 3 THEN length(<prefix>) END, CASE WHEN k < 3 THEN length(<prefix>) + length(<chosen>) END,"
    f" CASE WHEN k = 3 THEN NULL WHEN k = 1 AND mod(n, 7500) = 7 THEN '{RARE_KIND}'"
    " ELSE (ARRAY['calculation', 'operator', 'omission', 'copying', 'unit'])[1 + mod(n + k, 5)] END,"
    " CASE WHEN k = 3 THEN NULL WHEN k = 1 THEN 'consistent' ELSE 'stands' END,"
    " CASE WHEN k = 3 THEN NULL WHEN mod(n, 11) = 3 THEN 'slip' ELSE 'rule' END, CASE WHEN k < 3 THEN 1 + k END,"
    " CASE WHEN k = 3 THEN NULL WHEN k = 2 THEN 'replay' ELSE 'contradiction' END,"
    " CASE WHEN k < 3 THEN jsonb_build_object('equation', '4 * 6 = 20', 'left', '24', 'right', '20',"
    " 'original', '4 * 5 = 20') END,"
    " CASE k WHEN 3 THEN jsonb_build_object('kind', 'own')"
    " ELSE jsonb_build_object('kind', 'program', 'chosen', <rest>, 'rejected', <rest>) END,"
    " 'brought', 'rules', n, now() + n * interval '1 millisecond' + k * interval '1 microsecond'"
    f" {_several(4, 'k')}"
)

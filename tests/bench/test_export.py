"""The benchmark of the freeze measures what it says, on both databases."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from bench import export
from bench.export_rows import JOB, add_job
from models.jobs import PairRow
from models.outputs import Dataset
from models.session import Database
from models.settings import StoreSettings
from workers.stages import freeze as freezing


def test_the_benchmark_reads_and_writes_every_pair(database: Database, tmp_path: Path) -> None:
    add_job(database, 301)
    with database.read() as session:
        assert session.scalar(select(func.count(PairRow.id)).where(PairRow.job_id == JOB)) == 301
    url = database.engine.url.render_as_string(hide_password=False)
    figures = export.measure(url, tmp_path, 301, rounds=1)
    assert set(figures) >= {"ratio_parquet", "ratio_jsonl", "rss_rise_mb", "bare_rows_per_second"}
    # Processor time alone: where others have the machine, a ratio of so few rows may round to nothing.
    assert all(figures[name] > 0 for name in ("parquet_cpu_us", "jsonl_cpu_us", "bare_cpu_us"))
    lease = export.claimed(database)
    with export.memory() as largest, export.gates_watched() as gates:
        finish = freezing.freeze(export.context_of(database, tmp_path, lease))
        assert largest() > 10
    with database.begin() as session:
        finish.write(session)
        manifest = session.get_one(Dataset, lease.owner_id).manifest
    assert manifest is not None
    assert manifest["counts"]["pairs"] == 301
    assert set(gates[0].seconds) == set(manifest["gates"])
    assert all(seconds > 0 for seconds in gates[0].seconds.values())
    assert StoreSettings(ERRATA_HOME=tmp_path).files

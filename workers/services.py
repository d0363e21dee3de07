"""Putting a worker together: database, engines, judge and the table of stages."""

from __future__ import annotations

from celery import Celery

from models.session import Database
from models.settings import StoreSettings
from workers.dispatch import Dispatcher
from workers.engines.pool import EnginePool
from workers.engines.registry import interpreters
from workers.gpu import GpuLock, gpu_is_shared
from workers.judge import JudgePool
from workers.runner import Services, worker_name
from workers.settings import WorkerSettings
from workers.stages.table import STAGES
from workers.tasks import register


def build_services(app: Celery, db: Database, store: StoreSettings, settings: WorkerSettings) -> Services:
    """Services for one worker process, registered as ``app``'s task. Engine and judge children start on first use."""
    gpu = GpuLock(store.gpu_folder, f"worker {worker_name()}") if gpu_is_shared(store.gpu_turns) else None
    services = Services(
        db=db,
        store=store,
        settings=settings,
        dispatcher=Dispatcher(app),
        engines=EnginePool(
            loaded=settings.loaded_models,
            threads=settings.torch_threads,
            stall_seconds=settings.engine_stall_seconds,
            pythons=interpreters(settings),
            gpu=gpu,
        ),
        judge=JudgePool(size=settings.judge_processes, allow_code=settings.allow_code),
        stages=STAGES,
    )
    register(app, services)
    return services


def close_services(services: Services) -> None:
    """End the children. Stages still running see ``stopping`` first."""
    services.stopping.set()
    services.engines.close()
    services.judge.close()
    services.db.dispose()

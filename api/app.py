"""The application: routes, errors and middleware put together around the services they are given.

``create_app`` connects to nothing and keeps nothing global.
Importing this module loads neither torch nor vLLM.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from api import (
    argilla,
    audit,
    dataset_shapes,
    datasets,
    estimates,
    evaluations,
    keys,
    language_models,
    life,
    lineage,
    lm_eval,
    metrics,
    pairs,
    quotas,
    rejudgings,
    retractions,
    reviews,
    service,
)
from api.completions import routes as completions
from api.http import errors
from api.http.audit import Audited
from api.http.middleware import BodyLimit, SecurityHeaders
from api.http.observed import Observed
from api.http.routing import Api
from api.imports import routes as imports
from api.injection_jobs import contents as job_contents
from api.injection_jobs import extensions as job_extensions
from api.injection_jobs import failures as job_failures
from api.injection_jobs import jobs as injection_jobs
from api.links import add_links
from api.openai import files as openai_files
from api.openai import jobs as fine_tuning_jobs
from api.pages.rendering import STATIC, refusal_page
from api.pages.routes import router as pages
from api.problem_sets import routes as problem_sets
from api.problem_sets.routes import DOCUMENTS
from api.settings import ApiSettings
from api.studies import routes as studies
from api.training import checkpoints as training_checkpoints
from api.training import routes as training
from api.webhooks import routes as webhooks
from errata.output_config import DatasetConfig
from models.health import Health
from models.session import Database
from models.settings import StoreSettings
from workers.dispatch import Dispatcher

VERSION = "0.1.0"
#: Every resource. A new one adds its module here.
RESOURCES = (
    problem_sets,
    lm_eval,
    injection_jobs,
    job_contents,
    job_extensions,
    job_failures,
    estimates,
    rejudgings,
    argilla,
    reviews,
    pairs,
    datasets,
    dataset_shapes,
    imports,
    training,
    training_checkpoints,
    openai_files,
    fine_tuning_jobs,
    evaluations,
    studies,
    language_models,
    completions,
    life,
    lineage,
    retractions,
    keys,
    quotas,
    audit,
    webhooks,
    service,
    metrics,
)


def create_app(db: Database, store: StoreSettings, dispatcher: Dispatcher, settings: ApiSettings) -> FastAPI:
    """An application over these services; the caller owns and closes them."""
    app = FastAPI(
        title="Errata",
        version=VERSION,
        summary="Preference data from injected errors, and the training that learns from it.",
        docs_url=None,  # its page needs scripts from another host; /docs is ours (api.pages.routes)
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.api = Api.of(db, store, dispatcher, settings)
    app.state.health = Health(db, store, dispatcher.answers)
    app.state.stored_metrics = metrics.StoredMetrics(app.state.api)
    errors.install(app, refusal_page)
    app.router.routes.extend(_routes())
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Audited)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Observed)
    _describe(app)
    return app


@cache
def _routes() -> list[BaseRoute]:
    """The routes of every resource and page. FastAPI resolves what each depends on when it is first asked, which
    takes a quarter of a second for all of them: the applications of a process share them."""
    shared = APIRouter()
    for router in (*(resource.router for resource in RESOURCES), pages):
        shared.include_router(router)
    return shared.routes


def _describe(app: FastAPI) -> None:
    """OpenAPI with links, and with the schemas that only hand-written request bodies and refusals refer to."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            documents = (*DOCUMENTS, *imports.DOCUMENTS, DatasetConfig, errors.Problem)
            models = [(model, "validation") for model in documents]
            _, extra = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for name, definition in extra["$defs"].items():
                schemas.setdefault(name, definition)
            add_links(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

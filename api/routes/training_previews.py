"""``/v1/training-jobs:preview``: what a training job would train on, before it is started."""

from __future__ import annotations

from api.http.auth import Trainer
from api.http.errors import Conflict, TooManyRequests, documented
from api.http.routing import ApiDep
from api.http.routing import router as make_router
from api.schemas.training import TrainingPreviewIn, TrainingPreviewOut
from api.training import named_inputs, resolve_config
from workers.dispatch import PreviewFailed, TrainingRefused, prepare_preview, preview_training

router = make_router("/v1/training-jobs:preview", "training jobs")


@router.post("", responses=documented(409, 413, 415, 429))
def preview_training_job(caller: Trainer, api: ApiDep, body: TrainingPreviewIn) -> TrainingPreviewOut:
    """What a training job would train on: tokens with the trained spans marked, counts and estimates. Makes no job."""
    config = resolve_config(body)
    with api.db.read() as session:
        dataset, base = named_inputs(session, caller.workspace_id, body)
        try:
            spec = prepare_preview(session, api.store, dataset.id, base.id, config)
        except TrainingRefused as error:
            raise Conflict(str(error)) from None
    if not api.previews.acquire(blocking=False):
        busy = f"{api.settings.previews} previews are being made; ask again when they are done"
        raise TooManyRequests(busy, headers={"Retry-After": "2"})
    try:
        answer = preview_training(spec, body.examples, api.settings.preview_seconds)
    except PreviewFailed as error:
        raise Conflict(f"{error}; the job itself may still be started") from None
    finally:
        api.previews.release()
    return TrainingPreviewOut(config=config.model_dump(mode="json"), **answer)

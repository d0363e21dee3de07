"""The routes, one module per resource."""

from api.routes import (
    datasets,
    estimates,
    evaluations,
    injection_jobs,
    job_problems,
    model_files,
    models,
    pairs,
    problem_sets,
    rejudgings,
    service,
    training_jobs,
    training_previews,
)

ROUTERS = tuple(
    module.router
    for module in (
        problem_sets,
        injection_jobs,
        estimates,
        job_problems,
        rejudgings,
        pairs,
        datasets,
        training_previews,
        training_jobs,
        evaluations,
        models,
        model_files,
        service,
    )
)

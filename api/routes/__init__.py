"""The routes, one module per resource."""

from api.routes import datasets, evaluations, injection_jobs, models, pairs, problem_sets, service, training_jobs

ROUTERS = tuple(
    module.router
    for module in (problem_sets, injection_jobs, pairs, datasets, training_jobs, evaluations, models, service)
)

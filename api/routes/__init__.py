"""The routes, one module per resource."""

from api.routes import injection_jobs, pairs, problem_sets, service

ROUTERS = (problem_sets.router, injection_jobs.router, pairs.router, service.router)

# Two images from one file: `service` (API, sweeper, grading: no torch) and `torch` (generation and trainer).
# Build arguments: PYTHON (version), TORCH_INDEX (an index of CPU builds of torch;
# empty: the build of requirements/torch.lock, which brings CUDA).

ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

FROM base AS build
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
# The dependencies first, in a layer that a change of the code leaves alone: the very files that `make lock` found.
COPY requirements/service.lock requirements/
RUN pip install --require-hashes --no-deps -r requirements/service.lock

FROM build AS build-torch
ARG TORCH_INDEX=""
COPY requirements/torch.lock requirements/torch-cpu.lock requirements/
COPY constraints-cpu.txt ./
# torch of another index has other files, so no hash of ours: its version alone is pinned.
RUN if [ -z "$TORCH_INDEX" ]; then pip install --require-hashes --no-deps -r requirements/torch.lock; \
 else pip install --no-deps --index-url "$TORCH_INDEX" -r constraints-cpu.txt \
 && pip install --require-hashes --no-deps -r requirements/torch-cpu.lock; fi

FROM base AS runtime
RUN groupadd --system --gid 10001 errata \
 && useradd --system --uid 10001 --gid errata --home-dir /data --shell /usr/sbin/nologin errata \
 && install -d -o errata -g errata /data
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app:/app/client/src ERRATA_HOME=/data HOME=/data
COPY LICENSE README.md pyproject.toml ./
COPY errata errata
COPY models models
COPY migrations migrations
COPY workers workers
COPY client client
COPY api api
COPY demo demo
COPY cli cli
RUN printf '#!/bin/sh\nexec python -m cli.main "$@"\n' > /usr/local/bin/errata && chmod 755 /usr/local/bin/errata
USER errata
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["errata"]

FROM runtime AS service
COPY --from=build /venv /venv
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s --retries=3 CMD ["errata", "health"]
CMD ["api"]

FROM runtime AS torch
COPY --from=build-torch /venv /venv
HEALTHCHECK --interval=30s --timeout=15s --start-period=30s --retries=3 CMD ["errata", "health"]
CMD ["trainer"]

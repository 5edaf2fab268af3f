# The server, and the commands for training. Build: docker compose build

FROM python:3.11-slim AS wheels
WORKDIR /source
COPY requirements.lock ./
# Every file is held against its hash here; all that follows takes from these files only.
RUN python -m pip wheel --no-cache-dir --no-deps --require-hashes --wheel-dir /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md salvage.py ./
COPY features ./features
COPY models ./models
COPY training ./training
COPY serving ./serving
RUN python -m pip wheel --no-deps --no-index --find-links /wheels --wheel-dir /wheels .

FROM python:3.11-slim
# Of the wheels only what the product needs: no development tools, and not the GPL extras.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python -m venv /opt/salvage \
    && /opt/salvage/bin/python -m pip install --no-cache-dir --no-index --find-links /wheels "salvage-outcomes[sql,tracing]"
RUN useradd --system --uid 10001 --home-dir /tmp --shell /usr/sbin/nologin salvage \
    && install --directory --owner salvage --mode 0700 \
    /var/lib/salvage /var/lib/salvage-checkpoints /var/lib/salvage-training /var/lib/mlflow \
    /var/cache/salvage /etc/salvage

ENV PATH=/opt/salvage/bin:/usr/local/bin:/usr/bin:/bin \
    SALVAGE_HOME=/var/lib/salvage \
    SALVAGE_HOST=0.0.0.0 \
    NUMBA_CACHE_DIR=/var/cache/salvage \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true \
    OMP_WAIT_POLICY=passive \
    GIT_PYTHON_REFRESH=quiet \
    PYTHONUNBUFFERED=1

USER salvage
WORKDIR /var/lib/salvage
VOLUME /var/lib/salvage
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["salvage", "serve"]

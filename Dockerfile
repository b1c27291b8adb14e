# One image per service: docker build --build-arg SERVICE=policy -t entresol-policy .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG SERVICE
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN test -n "$SERVICE" || { echo "give --build-arg SERVICE=intake|policy|provisioning|catalog|notification" >&2; exit 1; }
WORKDIR /src

# The lock pins development tools too. The first environment only tells which part of it the service needs.
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/everything && \
    /opt/everything/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY compose/image/requirements.py compose/image/
COPY schemas schemas
COPY libs/contracts libs/contracts
COPY libs/eventing libs/eventing
COPY libs/manifests libs/manifests
COPY services/${SERVICE} services/${SERVICE}
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/everything/bin/python compose/image/requirements.py "$SERVICE" --third-party > third-party.lock && \
    /opt/everything/bin/python compose/image/requirements.py "$SERVICE" --own > own.txt && \
    /opt/everything/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels -r own.txt && \
    python -m venv /opt/venv && \
    /opt/venv/bin/pip install --require-hashes --only-binary :all: -r third-party.lock && \
    /opt/venv/bin/pip install --no-deps --no-index /wheels/*.whl && \
    ln -s "entresol-$SERVICE" /opt/venv/bin/entresol-service && \
    /opt/venv/bin/pip uninstall --yes pip setuptools && \
    python -m compileall -q /opt/venv/lib

FROM ${PYTHON_IMAGE} AS run
ARG SERVICE
# Only provisioning calls the git command, which calls ssh; Debian's has no compiler behind it.
RUN if [ "$SERVICE" = provisioning ]; then \
        apt-get update && apt-get install --yes --no-install-recommends ca-certificates git openssh-client && rm -rf /var/lib/apt/lists/*; \
    fi && \
    useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin entresol && \
    install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/entresol
COPY --from=build /opt/venv /opt/venv
COPY compose/image/bootstrap.py /opt/entresol/bootstrap.py
LABEL org.opencontainers.image.title="entresol-${SERVICE}" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/entresol
VOLUME /var/lib/entresol
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["entresol-service"]

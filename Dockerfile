# MyGO on Ray: serves lives, and is every node of a cluster on Kubernetes (docs/kubernetes.md).
#
#   docker build --tag registry.example/mygo:0.2.0-ray2.60.0 .
#   docker build --build-arg EXTRAS=ray,serve,text …          lives of texts, too
#
# Python is the version that the tests run with.
FROM python:3.11.14-slim-bookworm

ARG EXTRAS=ray,serve
ENV PYTHONPATH=/opt/mygo \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    MPLCONFIGDIR=/tmp/matplotlib
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /opt/mygo

# Packages come before the code, so that a change of the code does not install them again.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY mygo/__init__.py mygo/__init__.py
RUN python -m pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt --editable ".[${EXTRAS}]"

COPY mygo mygo
COPY distributed distributed
COPY tune tune

# The number, by which Kubernetes knows that it is not root, and lives are its own.
RUN useradd --uid 1000 --create-home mygo && install --directory --owner mygo --group mygo /lives
USER 1000:1000

EXPOSE 8000
# Without a token (MYGO_TOKEN) it is refused. Kubernetes runs Ray's own commands instead.
CMD ["python", "distributed/serve.py", "--life", "/lives/life", "--host", "0.0.0.0"]

# Two stages: what builds stays behind, what runs is Python, the packages and the released models.
# The same source on the same base gives the same files, and the same layer: all that is installed is pinned by hash,
# nothing is compiled, and every file is given one time. The base's tag moves with the patches of Python 3.11 and Debian
# 12; to build on the same base again, name it by its digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE} AS build
ENV SOURCE_DATE_EPOCH=1577836800 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements.txt requirements-build.txt ./
RUN python -m venv /tools && /tools/bin/pip install --no-compile --require-hashes -r requirements-build.txt
RUN python -m venv /opt/glyphserve \
    && /opt/glyphserve/bin/pip install --no-compile --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY training training
COPY service service
COPY models models
# /data and /store: whatever user it is started as may write there, and nowhere else; new volumes take this over.
RUN /tools/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheel . \
    && /opt/glyphserve/bin/pip install --no-compile --no-index --no-deps /wheel/*.whl \
    && /opt/glyphserve/bin/pip uninstall --yes pip setuptools \
    && find /opt/glyphserve -name __pycache__ -prune -exec rm -r {} + \
    && mkdir /image /image/opt && mv /opt/glyphserve /image/opt && mkdir -m 1777 /image/data /image/store \
    && find /image -exec touch --no-dereference --date=@$SOURCE_DATE_EPOCH {} +

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title=glyphserve org.opencontainers.image.licenses=MIT
COPY --from=build /image /
ENV PATH=/opt/glyphserve/bin:$PATH \
    GLYPHSERVE_HOME=/data \
    GLYPHSERVE_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /data
EXPOSE 8000
# Without site and urllib, whose imports are most of what a check would cost.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import sys, _socket; s = _socket.socket(); s.settimeout(2); s.connect(('127.0.0.1', 8000)); s.sendall(b'GET /health/ready HTTP/1.1\\r\\nHost: 127.0.0.1:8000\\r\\nConnection: close\\r\\n\\r\\n'); sys.exit(s.recv(12)[9:12] != b'200')"]
STOPSIGNAL SIGTERM
# Inside the container every address is behind the port that the host publishes. Without keys it answers to localhost
# and 127.0.0.1 alone. To publish it by another name, set GLYPHSERVE_ALLOWED_HOSTS, with 127.0.0.1 for the health check.
CMD ["glyphserve", "serve", "--insecure"]

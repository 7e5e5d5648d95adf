# Two stages: what builds stays behind, what runs is Python, the packages and the released models.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.txt .
RUN python -m venv /opt/glyphserve \
    && /opt/glyphserve/bin/pip install --no-cache-dir --no-compile --require-hashes -r requirements.txt
COPY pyproject.toml README.md ./
COPY training training
COPY service service
COPY models models
RUN /opt/glyphserve/bin/pip install --no-cache-dir --no-compile --no-deps . \
    && /opt/glyphserve/bin/pip uninstall --yes pip setuptools \
    && find /opt/glyphserve -name __pycache__ -prune -exec rm -r {} +

FROM python:3.11-slim
COPY --from=build /opt/glyphserve /opt/glyphserve
# Whatever user it is started as may write there, and nowhere else; new volumes take this over.
RUN mkdir /data /store && chmod 1777 /data /store
ENV PATH=/opt/glyphserve/bin:$PATH \
    GLYPHSERVE_HOME=/data \
    GLYPHSERVE_HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
STOPSIGNAL SIGTERM
# Inside the container every address is behind the port that the host publishes.
CMD ["glyphserve", "serve", "--insecure"]

FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY requirements requirements
# What builds the package stays here; only /opt/server goes on to the image.
RUN python -m venv /opt/server && \
    /opt/server/bin/pip install --no-cache-dir --require-hashes -r requirements/run.txt && \
    python -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt -r requirements/node.txt
COPY pyproject.toml README.md hatch_build.py ./
COPY graphiql graphiql
COPY graphql_server graphql_server
RUN PATH="/opt/build/bin:$PATH" pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . && \
    /opt/server/bin/pip install --no-index --no-deps dist/*.whl

FROM python:3.13-slim-trixie
# The number is fixed because it owns the files in the volume, which outlive the image.
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin dataset && \
    install --directory --owner dataset --group dataset /srv/media
COPY --from=build /opt/server /opt/server
ENV PATH="/opt/server/bin:$PATH" PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000 MEDIA_ROOT=/srv/media
USER 10001
VOLUME /srv/media
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["graphql-server"]
CMD ["serve"]

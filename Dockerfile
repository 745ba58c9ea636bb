# One image for every part; the command decides which (see docker-compose.yml).
FROM python:3.12-slim
RUN useradd --create-home tuner
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY tuner tuner
COPY api api
COPY workers workers
COPY migrations migrations
# EXTRAS=server for api and search, EXTRAS=worker for workers (torch with CUDA comes from the registry).
ARG EXTRAS=server,s3,gp,worker
RUN pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"
USER tuner
ENTRYPOINT ["tuner"]
CMD ["--help"]

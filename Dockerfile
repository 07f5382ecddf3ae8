# lipscore as an image: Python and its packages, the official weights, lipscore itself, in that order, so that a change in
# the code rebuilds only the last, small layer. What can be set, sizes and how to run it: docs/image.md.
#
# torch's wheels bring their own CUDA libraries; the base adds what NVIDIA's container runtime looks for, and Python 3.12.
# The CPU variant: --build-arg BASE_IMAGE=ubuntu:24.04 --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG BASE_IMAGE=nvidia/cuda:13.0.2-base-ubuntu24.04


# What the final image runs on: python3 >= 3.11 of the base's distribution, and tini to pass signals on.
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS python
# The base pins the distribution's release; its own security updates are wanted, so no versions here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/*.log /var/log/apt /root/.cache


# The dependencies' names alone, so that no other change in pyproject.toml installs them anew.
FROM python AS requirements
WORKDIR /src
COPY pyproject.toml constraints.txt ./
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
    > requirements.txt


# The packages, at the versions of constraints.txt, in an environment without pip.
FROM python AS packages
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ARG TORCH_INDEX=""
# pip builds sdists in environments of their own: PIP_CONSTRAINT holds there too, -c would not.
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY --from=requirements /src/requirements.txt /src/constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/lipscore/venv \
    && python3 -m pip --python /opt/lipscore/venv/bin/python install \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements.txt
# Headers, static libraries, test programs and packages' own tests: nothing at run time reads them.
RUN site=$(echo /opt/lipscore/venv/lib/python3*/site-packages) \
    && rm -rf "$site/torch/include" "$site/torch/share" "$site/torch/test" \
    && find "$site/torch/bin" -mindepth 1 ! -name torch_shm_manager -delete \
    && find "$site" -name '*.a' -delete \
    && find "$site/numpy" "$site/scipy" -type d -name tests -prune -exec rm -rf {} +


# The official weights. Only the package `weights` and what bakes it stand above, so a change elsewhere fetches nothing again;
# the cache mount keeps what was fetched even if these change.
#   WEIGHTS=fetch (default): from weights/ of the build context where they are there, else from their publishers
#   WEIGHTS=none: no official weights; the image scores with the built-in model and says so
#   ALLOW_UNVERIFIED=1: take files of weights/ that are not the published ones; the log and every record say so
FROM packages AS weights
WORKDIR /src
COPY src/lipscore/__init__.py src/lipscore/errors.py lipscore/
COPY src/lipscore/weights/ lipscore/weights/
COPY docker/bake_weights.py ./
COPY weights/ weights/
ARG WEIGHTS=fetch
ARG ALLOW_UNVERIFIED=""
RUN --mount=type=cache,target=/var/cache/lipscore \
    XDG_CACHE_HOME=/var/cache PYTHONPATH=/src /opt/lipscore/venv/bin/python bake_weights.py \
        --mode "$WEIGHTS" --context weights --out /opt/lipscore/weights ${ALLOW_UNVERIFIED:+--allow-unverified}


# lipscore itself, laid out as it will lie over the environment.
FROM packages AS code
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
COPY syncnet/ syncnet/
COPY metrics/ metrics/
COPY eval/ eval/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/lipscore/venv/bin/python install --no-deps --prefix /code .


FROM python AS runtime
COPY --from=packages /opt/lipscore/venv /opt/lipscore/venv
COPY --from=weights /opt/lipscore/weights /opt/lipscore/weights
# The older container's mount points are these folders by another name. Any user may write where results go. There is
# no all_scores.txt: over a file the engine would refuse the directory that it makes of a missing host file, and the
# entrypoint could not say what is wrong.
RUN mkdir -p /app/eval/data /app/eval/results /app/tmp \
    && chmod 1777 /app/eval/results /app/tmp \
    && ln -s /app /syncnet_python
# HOME, LOGNAME: a user that --user names is in no passwd file, and torch asks who runs it.
# LIPSCORE_OFFLINE: what is not baked in is not fetched while scoring.
ARG ALLOW_UNVERIFIED=""
ENV PATH=/opt/lipscore/venv/bin:$PATH \
    HOME=/tmp \
    LOGNAME=lipscore \
    PYTHONUNBUFFERED=1 \
    LIPSCORE_WEIGHTS=/opt/lipscore/weights \
    LIPSCORE_OFFLINE=1 \
    LIPSCORE_ALLOW_UNVERIFIED=${ALLOW_UNVERIFIED}
WORKDIR /app
COPY --from=code /code/ /opt/lipscore/venv/
COPY --chmod=0755 entrypoint.sh run_commands.sh ./
ARG BASE_IMAGE
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="lipscore" \
      org.opencontainers.image.description="LSE-D, LSE-C, audio-video offset, PSNR and SSIM of talking-head video" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
# tini: as process 1 a shell or Python would ignore SIGTERM; -g: the whole group gets it, -s: also where tini is not 1
ENTRYPOINT ["/usr/bin/tini", "-s", "-g", "--", "/app/entrypoint.sh"]

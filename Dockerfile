# docker build -t masktracer .                                            with CUDA; runs without, too
# docker build -t masktracer --build-arg TORCH_CPU_INDEX=URL .            for CPUs alone, a third of the size
# docker run --rm --gpus all --shm-size 8g --user "$(id -u):$(id -g)" \
#     -v "$PWD/data:/home/user/app/data" -v "$PWD/saved:/home/user/app/saved" \
#     masktracer train -c config.json
# The mounted folders have to be there, and yours: what is missing Docker makes, for root alone.
FROM python:3.11-slim

# WORKDIR alone would make the folder root's, in which nobody else can make .venv. For
# trainer.compile add g++, with which torch compiles.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home user \
    && install --directory --owner=user --group=user /home/user/app \
    && chmod 1777 /home/user

# For anybody that --user names: weights, matplotlib and compilers keep files at home.
ENV HOME=/home/user USER=user
USER user
WORKDIR /home/user/app

# The index of PyTorch's builds without CUDA. CUDA's libraries come with the usual build, so that
# the image needs none of its own; the machine brings the driver.
ARG TORCH_CPU_INDEX=""

# Before the code, so that a change of it installs nothing again.
COPY --chown=user Makefile requirements.txt ./
RUN make setup ${TORCH_CPU_INDEX:+CPU=1 TORCH_CPU_INDEX=$TORCH_CPU_INDEX} && rm -rf "$HOME/.cache"
ENV PATH=/home/user/app/.venv/bin:$PATH PYTHONUNBUFFERED=1

COPY --chown=user . .
RUN python -m pip install --no-deps --no-cache-dir --editable .

# Photos are mounted, and what a run writes is kept by mounting these.
VOLUME ["/home/user/app/data", "/home/user/app/saved", "/home/user/app/submit"]
EXPOSE 8501

# `docker run masktracer` lists the commands. The web page:
#   docker run -p 8501:8501 … --entrypoint streamlit masktracer \
#       run app.py --server.address 0.0.0.0 -- --resume CKPT
# (the page's own setting, 127.0.0.1, would be the container's alone; of serve it is --host 0.0.0.0)
ENTRYPOINT ["masktracer"]
CMD ["--help"]

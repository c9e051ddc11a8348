"""Asking, before a long wait, whether published weights can be had at all.

Without network the hub's client tries six times for each of several file names, about a minute in
all, and a plain download may hang for minutes in the system's own time-out.
"""

import threading
import urllib.error
import urllib.request
from pathlib import Path

import huggingface_hub
import torch
from huggingface_hub import constants

HUB_FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)
"""What timm looks for in a repository of the hub."""


def hub_weights_at_hand(repository: str, file_name: str | None = None) -> bool:
    """Whether weights of a repository (``owner/name``) are in the hub's cache, or the hub answers;
    ``file_name``, where it is not one of the usual names.
    """
    names = (file_name,) if file_name else HUB_FILES
    found = (huggingface_hub.try_to_load_from_cache(repository, name) for name in names)
    if any(isinstance(path, str) for path in found):
        return True
    return not constants.HF_HUB_OFFLINE and answers(constants.ENDPOINT)


def url_weights_at_hand(url: str) -> bool:
    """Whether weights at a plain address are in torch hub's cache, or the address answers."""
    cached = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    return cached.is_file() or answers(url)


def answers(url: str, seconds: float = 8.0) -> bool:
    """Whether a server answers at this address in time, through a proxy where one is set;
    ``seconds`` also bounds the look-up of the name, which has no limit of its own.
    """
    heard = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, method="HEAD")
            urllib.request.urlopen(request, timeout=seconds).close()
            heard.set()
        except urllib.error.HTTPError as error:
            # 403 and 404 are answers, too: the server is there, and many refuse a HEAD.
            if error.code < 500:
                heard.set()
        except (OSError, ValueError):
            pass

    # In a thread, since the look-up of a name cannot be interrupted.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return heard.is_set()

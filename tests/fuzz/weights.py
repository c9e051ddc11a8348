"""TRACER's weights with damaged bytes, or with anything in the place of any value."""

import random
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open

from tests.fuzz.checkpoints import odd_tensor_or_value
from tests.fuzz.mutate import damaged, mutated
from TRACER.network import Tracer
from TRACER.weights import SAMPLE, load_tracer, network_settings, save_float16, weights_digest

CASES = 300
SLICE = 8
SECONDS = 30


def prepare(folder: Path) -> Callable[[random.Random], None]:
    """A network in both kinds of files."""
    network = Tracer(0).eval()
    if SAMPLE.exists():
        with safe_open(SAMPLE, framework="pt") as file:
            network.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    content = {**network_settings(network), "model": dict(network.state_dict())}
    pickled, safe = folder / "a.pth", folder / "a.safetensors"
    torch.save(content, pickled)
    save_float16(network, safe)
    whole = {path: path.read_bytes() for path in (pickled, safe)}
    digests = {load_and_digest(path) for path in whole}

    def attempt(draw: random.Random) -> None:
        path = draw.choice((pickled, pickled, safe))
        if path == pickled and draw.random() < 0.5:
            settings = mutated(network_settings(network), draw, odd_tensor_or_value)
            few = {key: content["model"][key] for key in draw.sample(list(content["model"]), 3)}
            changed = mutated(few, draw, odd_tensor_or_value)
            extra = changed if isinstance(changed, dict) else {"x": changed}
            model = draw.choice((content["model"] | extra, content["model"], extra, changed))
            given = settings if isinstance(settings, dict) else {}
            torch.save(draw.choice((given | {"model": model}, model, settings)), path)
            load_tracer(path)
            return
        path.write_bytes(damaged(whole[path], draw))
        assert load_and_digest(path) in digests, "damaged weights were believed"

    return attempt


def load_and_digest(path: Path) -> str:
    """What tells whether weights are the same."""
    return weights_digest(load_tracer(path))

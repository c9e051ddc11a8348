"""TRACER networks with the deterministic golden weights, for every test of this folder."""

import functools
import importlib.util
from pathlib import Path

import pytest
import torch

from tests.cuda_stand_in import two_gpus  # noqa: F401, a fixture
from TRACER.network import Tracer
from TRACER.official_keys import UNUSED, translate

FIXTURES = Path(__file__).parent / "fixtures"
_spec = importlib.util.spec_from_file_location("golden_weights", FIXTURES / "golden_weights.py")
golden_weights = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden_weights)


def official_state(scale: int) -> dict[str, torch.Tensor]:
    """Golden weights under the names of the released files, without ``module.``."""
    state = golden_weights.golden_state_dict(scale, FIXTURES / "checkpoint_keys")
    return {key: torch.from_numpy(value) for key, value in state.items()}


@functools.cache
def golden_tracer(scale: int, input_size: int | None = None) -> Tracer:
    network = Tracer(scale, input_size=input_size).eval()
    state = {translate(k, scale): v for k, v in official_state(scale).items() if k not in UNUSED}
    network.load_state_dict(state)
    return network


@pytest.fixture(scope="session")
def golden_network():
    """``golden_network(scale, input_size=None)``: shared by the tests, which leave it as it is."""
    return golden_tracer


@pytest.fixture(scope="session")
def golden_state():
    """``golden_state(scale)``: a released state dict, ``module.`` stripped."""
    return official_state


@pytest.fixture(scope="session")
def golden_input():
    """``golden_input(scale)``: (2, 3, S, S) float32, the images behind the golden maps."""
    return lambda scale: torch.from_numpy(golden_weights.golden_input(scale))

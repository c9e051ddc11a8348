"""How fast is TRACER, against a naive run of the same network and against its own limit?

    python -m benchmarks.tracer                       on this machine's CPU
    python -m benchmarks.tracer --device cuda --compile

Measured in turns in one run:

- the network alone, from the naive way (float32, contiguous, the frequency mask built by a Python
  loop at each forward, one photo at a time with a round trip to the host, as the original project
  did) through each lever to what ``Extractor`` runs;
- whole extraction (decoding, network, cutting, crop cache) against the network alone.

Then: where the time goes, the arithmetic against the processor's peak, and time and memory with
1, 4 and 16 times the photos.
"""

import argparse
import itertools
import json
import resource
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import (
    FACES,
    as_scripts_do,
    in_turns,
    machine,
    ratio,
    sample_people,
    table,
    timed,
)
from data_loader.dataset import read_index
from TRACER.crops import extract_crop
from TRACER.extractor import Extractor, default_batch_size, one_thread_per_worker
from TRACER.folding import fold_norms
from TRACER.inference import cast_convolutions, choose_dtype, make_predictor
from TRACER.network import INPUT_SIDES, MEAN, STD, Tracer
from TRACER.onnx_engine import OnnxPredictor, to_onnx
from TRACER.settings import CropSettings
from TRACER.weights import SAMPLE, load_tracer
from utils.cli import run_command
from utils.devices import available_cores, resolve_device, use_device
from utils.images import read_image

NAIVE, OURS = "naive", "as Extractor runs it"


class Setting:
    """What all measurements have in common."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.device = resolve_device(args.device)
        use_device(self.device)
        self.compile = args.compile
        self.rounds = args.rounds
        self.network = build_network(args.scale).to(self.device)
        self.batch_size = args.batch_size or default_batch_size(self.device, self.network)
        self.cores = available_cores()
        self.dtype = choose_dtype(self.device, "auto")
        index = read_index(sample_people(args.persons), FACES.settings)
        self.paths = index.paths()[: args.photos]
        side = (self.network.input_size, self.network.input_size)
        self.inputs = np.stack([cv2.resize(read_image(path), side) for path in self.paths])

    def extractor(self) -> Extractor:
        """As a user gets it."""
        settings = CropSettings(batch_size=self.batch_size)
        return Extractor(self.network, settings, device=self.device, compile=self.compile)


def main() -> None:
    """Run the measurements and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scale", type=int, default=0, choices=range(len(INPUT_SIDES)))
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--compile", action="store_true", help="for the last lever, on a GPU")
    parser.add_argument("--persons", type=int, default=4)
    parser.add_argument("--photos", type=int, default=16, help="a round; a GPU wants thousands")
    parser.add_argument("--rounds", type=int, default=5)
    setting = Setting(parser.parse_args())
    side, name = setting.network.input_size, f"TE{setting.network.scale}"
    print(f"{machine(setting.device)}\n{name} at {side} px, {setting.dtype}\n")
    network_alone(setting)
    whole_extraction(setting)
    where_the_time_goes(setting)
    roofline(setting)
    more_photos(setting)


def build_network(scale: int) -> Tracer:
    """The sample weights where they fit, else random ones, which cost the same."""
    network = Tracer(scale).eval()
    if scale == 0 and SAMPLE.exists():
        network.load_state_dict(load_tracer("sample").state_dict())
    return network


def network_alone(setting: Setting) -> None:
    """From the naive way to ours, one lever more in each row."""
    sides: dict[str, Callable[[], float]] = {
        name: partial(lambda run: timed(lambda: run(setting.inputs)), run)
        for name, run in levers(setting).items()
    }
    sides[NAIVE] = as_scripts_do(sides[NAIVE])
    for run in sides.values():
        run()
    with all_cores(setting):
        rates = in_turns(sides, setting.rounds)
    rows = [
        (name, f"{np.median(values):.1f}", f"{ratio(rates, name, NAIVE):.1f}")
        for name, values in rates.items()
    ]
    print(table(("network alone", "images/s", "times the naive"), rows), "\n")


def levers(setting: Setting) -> dict[str, Callable[[np.ndarray], int]]:
    """Ways to run (n, S, S, 3) uint8 images; each returns their number."""
    naive: Any = build_network(setting.network.scale).to(setting.device)
    naive.encoder.edge.high_pass = high_pass_with_python_loop
    folded = fold_norms(setting.network)
    nhwc = fold_norms(setting.network).to(memory_format=torch.channels_last)
    low = fold_norms(setting.network).to(memory_format=torch.channels_last)
    cast_convolutions(low, setting.dtype)
    plain = torch.contiguous_format
    ways = {
        NAIVE: one_by_one(setting, naive, plain),
        "+ mask a constant, real FFT": one_by_one(setting, setting.network, plain),
        "+ norms folded, saliency alone": one_by_one(setting, folded.predict_saliency, plain),
        "+ channels last": one_by_one(setting, nhwc.predict_saliency, torch.channels_last),
    }
    if setting.device.type == "cpu":
        ways["the same under ONNX Runtime"] = in_onnx(setting)
    if setting.dtype != torch.float32:
        ways[f"+ {setting.dtype}"] = one_by_one(
            setting, low.predict_saliency, torch.channels_last, setting.dtype
        )
    return {**ways, OURS: workers(setting)}


def one_by_one(
    setting: Setting,
    network: Callable[[Tensor], Tensor],
    layout: torch.memory_format,
    dtype: torch.dtype = torch.float32,
) -> Callable[[np.ndarray], int]:
    """One photo a forward, its map brought to the host before the next."""

    def run(images: np.ndarray) -> int:
        for image in images:
            # In numpy and float64, as the original did it.
            normalized = ((image / 255 - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)
            tensor = torch.from_numpy(np.ascontiguousarray(normalized))[None].to(setting.device)
            low = dtype != torch.float32
            with torch.no_grad(), torch.autocast(setting.device.type, dtype, enabled=low):
                output = network(tensor.contiguous(memory_format=layout))
            saliency = output if isinstance(output, Tensor) else output.saliency
            # .cpu() waits for the device: a round trip for each photo.
            (saliency[0, 0].cpu().numpy() * 255).astype(np.uint8)
        return len(images)

    return run


def in_onnx(setting: Setting) -> Callable[[np.ndarray], int]:
    """One photo a forward on one thread under ONNX Runtime."""
    predictor = OnnxPredictor(setting.network)
    return lambda images: len(predictor(images))


def workers(setting: Setting) -> Callable[[np.ndarray], int]:
    """The predictor under the extractor's worker threads, without its photos."""
    predictor = make_predictor(
        setting.network, setting.device, setting.batch_size, compile=setting.compile
    )
    num_workers = setting.extractor().num_workers

    def run(images: np.ndarray) -> int:
        size = setting.batch_size
        batches = [images[i : i + size] for i in range(0, len(images), size)]
        with one_thread_per_worker(num_workers) as pool:
            return sum(map(len, pool.map(predictor, batches)))

    return run


def high_pass_with_python_loop(x: Tensor) -> Tensor:
    """(B, C, H, H) -> the same as ``EdgeModule.high_pass``, as slowly as the original."""
    side = x.shape[-1]
    mask = torch.ones(side, side)
    for row, column in itertools.product(range(side), range(side)):
        distance = ((row - side / 2) ** 2 + (column - side / 2) ** 2) ** 0.5
        # Python's own loop over every frequency, anew at each forward.
        if distance < 16:
            mask[row, column] = 0
        else:
            mask[row, column] = 1
    spectrum = torch.fft.fftshift(torch.fft.fft2(x)) * mask.to(x.device)
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum)).abs()


def whole_extraction(setting: Setting) -> None:
    """Files to a crop cache on disk, against the network alone on pixels in memory."""
    network, extractor = workers(setting), setting.extractor()
    with tempfile.TemporaryDirectory() as folder:
        shape = (len(setting.paths), extractor.settings.size, extractor.settings.size, 3)
        cache = np.lib.format.open_memmap(
            Path(folder) / "crops.npy", mode="w+", dtype=np.uint8, shape=shape
        )

        def extract() -> int:
            for row, extraction in enumerate(filter(None, extractor(setting.paths))):
                # To disk as the real cache, but without its checksums and marks.
                cache[row] = extraction.crop
            cache.flush()
            return len(cache)

        sides = {
            "network alone": lambda: timed(lambda: network(setting.inputs)),
            "whole extraction": lambda: timed(extract),
        }
        for run in sides.values():
            run()
        rates = in_turns(sides, setting.rounds)
    rows = [
        (name, f"{np.median(values):.1f}", f"{ratio(rates, name, 'network alone'):.2f}")
        for name, values in rates.items()
    ]
    print(table(("", "images/s", "of the network alone"), rows), "\n")


def where_the_time_goes(setting: Setting) -> None:
    """Shares of one photo's time, step by step on one core, then the network's by operator."""
    with one_thread_per_worker(1) as pool:
        pool.submit(_print_shares, setting).result()


def _print_shares(setting: Setting) -> None:
    predictor = make_predictor(setting.network, setting.device, setting.batch_size)
    side = (predictor.side, predictor.side)
    spent: dict[str, float] = defaultdict(float)
    # Plans, or translates to ONNX; not counted.
    predictor(setting.inputs[:1])
    for start in range(0, len(setting.paths), setting.batch_size):
        paths = setting.paths[start : start + setting.batch_size]
        with clock(spent, "decode"):
            photos = [read_image(path) for path in paths]
        with clock(spent, "resize for the network"):
            inputs = np.stack([cv2.resize(photo, side) for photo in photos])
        with clock(spent, "network"):
            maps = predictor(inputs)
        with clock(spent, "find the region, cut, resize"):
            for photo, saliency in zip(photos, maps, strict=True):
                extract_crop(photo, saliency, CropSettings())
    print(table(("step", "share"), shares(Counter(spent))), "\n")

    by_engine = onnx_operators if predictor.engine == "onnxruntime" else torch_operators
    operators = by_engine(setting, predictor)
    print(table(("operator of the network", "share"), shares(operators)[:10]), "\n")


def torch_operators(setting: Setting, predictor: Any) -> Counter[str]:
    """Microseconds of one batch by torch's operator."""
    with profile(acc_events=True) as profiler:
        predictor(setting.inputs[: setting.batch_size])
    on_gpu = setting.device.type == "cuda"
    operators: Counter[str] = Counter()
    for event in profiler.key_averages():
        # Self time: an operator's own, without those it calls.
        time_us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        operators[event.key.removeprefix("aten::")] += time_us
    return operators


def onnx_operators(setting: Setting, _) -> Counter[str]:
    """Microseconds of some photos by ONNX Runtime's operator."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = 1, True
    options.profile_file_prefix = tempfile.mkdtemp() + "/"
    session = onnxruntime.InferenceSession(
        to_onnx(setting.network), options, providers=["CPUExecutionProvider"]
    )
    for image in setting.inputs[: setting.batch_size]:
        session.run(None, {session.get_inputs()[0].name: image[None]})
    operators: Counter[str] = Counter()
    for event in json.loads(Path(session.end_profiling()).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            operators[event["args"]["op_name"]] += event["dur"]
    return operators


@contextmanager
def clock(spent: dict[str, float], step: str) -> Iterator[None]:
    """Add the wall time of a block to ``spent[step]``."""
    began = time.perf_counter()
    yield
    spent[step] += time.perf_counter() - began


def shares(spent: Counter[str]) -> list[tuple[str, str]]:
    """Largest first, in per cent of the sum."""
    return [(name, f"{value / spent.total():.1%}") for name, value in spent.most_common()]


def roofline(setting: Setting) -> None:
    """Arithmetic of a photo, and how much of the processor's peak the network reaches."""
    side = setting.network.input_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        setting.network.predict_saliency(torch.zeros(1, 3, side, side, device=setting.device))
    # Of the torch network, whatever engine runs: FLOPs are those of the model.
    flops, run = counter.get_total_flops(), workers(setting)
    rates = in_turns(
        {
            "network": lambda: timed(lambda: run(setting.inputs)),
            "matrix product": lambda: timed(lambda: matrix_flops(setting)),
        },
        setting.rounds,
    )
    reached, peak = np.median(rates["network"]) * flops, np.median(rates["matrix product"])
    rows = [
        ("GFLOP per photo (multiply and add counted apart)", f"{flops / 1e9:.2f}"),
        ("reached by the network, TFLOP/s", f"{reached / 1e12:.3f}"),
        (f"reached by a large {setting.dtype} matrix product, TFLOP/s", f"{peak / 1e12:.3f}"),
        ("share", f"{reached / peak:.0%}"),
    ]
    print(table(("roofline", ""), rows), "\n")


def matrix_flops(setting: Setting) -> int:
    """Multiply large matrices on all cores; returns the operations done."""
    # Large enough that nothing but arithmetic limits it.
    side, times = (8192, 20) if setting.device.type == "cuda" else (2048, 4)
    a = torch.randn(side, side, device=setting.device, dtype=setting.dtype)
    for _ in range(times):
        a @ a
    return times * 2 * side**3


def more_photos(setting: Setting) -> None:
    """Time and the process's largest memory so far, with 1, 4 and 16 times the photos."""
    extractor, rows = setting.extractor(), []
    for times in (1, 4, 16):
        paths = itertools.chain.from_iterable(itertools.repeat(setting.paths, times))
        began = time.perf_counter()
        count = sum(1 for _ in extractor(paths))
        seconds = time.perf_counter() - began
        # The largest so far, which can only grow: equal numbers mean that nothing grew.
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append((count, f"{seconds:.1f}", f"{1000 * seconds / count:.1f}", f"{peak_mib:.0f}"))
    print(table(("photos", "seconds", "ms per photo", "peak memory, MiB"), rows))


@contextmanager
def all_cores(setting: Setting) -> Iterator[None]:
    """Torch's own threads, as the naive way uses them."""
    before = torch.get_num_threads()
    torch.set_num_threads(setting.cores)
    yield
    torch.set_num_threads(before)


if __name__ == "__main__":
    run_command(main)

"""What ``python -m benchmarks.gpu`` measures, step by step: each gives rows of its table."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from base.cuda_graph import WARM_UP, Graphed
from base.inference import infer
from base.prefetch import Prefetcher
from base.train_step import TrainStep
from benchmarks.common import ROOT, in_turns, machine, sample_people, timed
from benchmarks.gpu_checks import Skipped
from benchmarks.train import FACES, Setting, bare, epochs, timm_way, trainer
from data_loader.crops import build_crops
from data_loader.data_loaders import batch_of_predictions, prediction_loader
from TRACER.crops import CropSettings
from TRACER.extractor import Extractor
from TRACER.inference import make_predictor
from TRACER.network import Tracer
from trainer.predict import predict
from trainer.tta import views_from
from trainer.updates import GIB, training_flops
from utils.devices import peak_flops

Row = tuple[str, str]
"""What was measured, and the figure."""


class Size(NamedTuple):
    """How much is measured.

    Attributes:
        times: how often an epoch shows each photo of these people.
    """

    device: str
    model: str
    side: int
    batches: tuple[int, ...]
    people: int
    times: int
    photos_to_predict: int

    def setting(self, batch: int) -> Setting:
        """What ``benchmarks.train`` measures with."""
        times = self.times * max(1, batch // 64)
        return Setting(self.device, self.model, self.side, batch, self.people, times)


FULL = Size("cuda:0", "efficientnetv2_rw_s", 240, (32, 128), 16, 19, 3500)
TINY = Size("cpu", "test_resnet", 48, (32,), 3, 2, 14)


class Step(NamedTuple):
    """A part of the table: what gives its rows, and the seconds after which it is ended."""

    run: Callable[[Size], Iterable[Row]]
    seconds: float


def drawing(size: Size) -> list[Row]:
    """The people that the other steps are measured on; what it takes is no figure of the card."""
    sample_people(size.people)
    return []


def starting(size: Size) -> Iterator[Row]:
    """Import, help, and a whole command from its start to the end of an epoch of ten steps."""

    def seconds(*command: str) -> str:
        began = time.perf_counter()
        with tempfile.TemporaryFile("w+") as file:  # no pipe: its last writer would be waited for
            code = subprocess.run([sys.executable, *command], cwd=ROOT, stderr=file).returncode
            file.seek(0)
            said = file.read()
        print(said, file=sys.stderr)  # into the log
        if code:
            raise RuntimeError(f"{command[0]}: {said.strip().splitlines()[-1:]}")
        return f"{time.perf_counter() - began:.1f}"

    yield "train.py --help, s", seconds("train.py", "--help")
    yield "import trainer.session, s", seconds("-c", "import trainer.session")
    setting = size.setting(size.batches[0])
    values = {
        "data_dir": setting.folder, "arch.args.pretrained": "false", "label_corrections": "null",
        "arch.args.model_name": size.model, "data_loader.args.input_size": size.side,
        "tracer.weights": "sample", "tracer.cache_dir": tempfile.mkdtemp(), "explain": "false",
        "trainer.epochs": 1, "trainer.limit_train_batches": 10, "n_gpu": int(size is FULL),
        "trainer.save_dir": tempfile.mkdtemp(),
        # So short a training has no room for a schedule or a report.
        "lr_scheduler": "null", "trainer.report": "false", "trainer.verbosity": 1,
        "data_loader.args.batch_size": 8,  # so few people make no ten batches of 32
    }  # fmt: skip
    sets = [f"--set={key}={value}" for key, value in values.items()]
    whole = seconds("train.py", "-c", "config.json", *sets)
    yield f"train.py, {len(setting.index)} photos to crop, 10 steps, validation, s", whole


def extraction(size: Size) -> Iterator[Row]:
    """TRACER's network alone, and from files to a complete cache."""
    setting = size.setting(size.batches[0])
    yield "card", machine(setting.device)
    batch, times = (2, 1) if size is TINY else (128, 10)
    tracer = Tracer(0).to(setting.device)
    predictor = make_predictor(tracer, setting.device, batch)
    images = np.zeros((batch, predictor.side, predictor.side, 3), np.uint8)
    # The first call plans kernels.
    predictor(images)
    rate = timed(lambda: sum(len(predictor(images)) for _ in range(times)))
    yield f"TRACER's network, with copies, batch {batch}, photos/s", f"{rate:.0f}"
    extractor = Extractor(tracer, CropSettings(crop_size=size.side), device=setting.device)
    photos = different(setting.photos[:2], 1) if size is TINY else different(setting.photos, 20)

    def cache(some: Sequence[Path]) -> int:
        build_crops(some, extractor, Path(tempfile.mkdtemp()), progress=False)
        return len(some)

    # The first photo pays for loading and planning; the rate below is without.
    yield "to the first crop, s", f"{1 / timed(lambda: cache(photos[:1])):.2f}"
    rate = timed(lambda: cache(photos))
    yield f"{len(photos)} photos to a complete cache, photos/s", f"{rate:.0f}"


def different(photos: Sequence[Path], times: int) -> list[Path]:
    """So many copies of each photo, each with other bytes behind the picture's end."""
    folder, copies = Path(tempfile.mkdtemp()), []
    for number, photo in enumerate(dict.fromkeys(photos)):
        for copy in range(times):
            copies.append(folder / f"{number}-{copy}{photo.suffix}")
            # Decoders stop at the picture's end, but the digest differs: a cache must not help.
            copies[-1].write_bytes(photo.read_bytes() + bytes([copy]))
    return copies


def training(batch_of: int) -> Callable[[Size], Iterator[Row]]:
    """Steps and epochs with one of the sizes' batches."""

    def measure(size: Size) -> Iterator[Row]:
        setting = size.setting(size.batches[min(batch_of, len(size.batches) - 1)])
        crops, on_gpu = setting.crops(), setting.device.type == "cuda"
        # With the moving average, as recipes have it: it reads and writes all weights.
        eager = trainer(setting, crops, ema_decay=0.998)
        sides = {"bare eager loop": bare(setting), "ours, eager": epochs(eager)}
        trainings = {"ours, eager": eager}
        if on_gpu:
            graphed = trainer(setting, crops, ema_decay=0.998, cuda_graph=True)
            # The limit of what a graph can give, and the Trainer with it.
            sides["bare graphed loop"] = stepping(setting, setting.train_step(cuda_graph=True))
            sides["ours, graph"] = epochs(graphed)
            trainings["ours, graph"] = graphed
        sides["timm's way"] = timm_way(setting)
        # Model FLOPs, not those done: recomputing would not count as use of the card.
        flops = training_flops(setting.model(), setting.size)
        peak = peak_flops(setting.device, setting.amp)
        for name, (rate,) in in_turns(sides, 1).items():
            mfu = f", MFU {rate * flops / peak:.1%}" if peak else ""
            if name in trainings:
                wait = trainings[name].timings["time/data_wait_share"]
                mfu += f", waiting for data {wait:.1%}"
            yield f"batch {setting.batch}, {name}, images/s", f"{rate:.0f}{mfu}"
        if on_gpu:
            # Of all sides together, so an upper bound for each.
            most = torch.cuda.max_memory_allocated() / GIB
            yield f"batch {setting.batch}, memory with all these on the card, GiB", f"{most:.1f}"

    return measure


def stepping(setting: Setting, step: TrainStep) -> Callable[[], float]:
    """Steps of a ``TrainStep`` over one batch that lies on the card."""
    images, targets = setting.random_batch()
    steps = 20 + WARM_UP  # the warm-up's compute as well; after the first call none is special

    def work() -> int:
        step.start_epoch()
        for number in range(steps):
            step.step(images, targets, number, steps)
        return steps * setting.batch

    return lambda: timed(work)


def prediction(size: Size) -> Iterator[Row]:
    """Photos with their mirror images, out of the cache of crops."""
    setting = size.setting(size.batches[0])
    number = size.photos_to_predict
    # The few drawn people again and again: answers do not matter here.
    photos = (setting.photos * (1 + number // len(setting.photos)))[:number]
    extractor = Extractor(None, CropSettings(crop_size=setting.size), device=setting.device)
    loader, _ = prediction_loader(
        photos, extractor=extractor, cache_dir=Path(tempfile.mkdtemp()), input_size=setting.size,
        batch_size=setting.batch, num_workers="auto", device=setting.device, progress=False,
    )  # fmt: skip
    step = setting.train_step()
    step.best_model.eval()
    views = views_from({"flip": True})

    def work() -> int:
        predict(step.predict, Prefetcher(loader, setting.device), FACES, views)
        return number

    for time_of in ("the first time", "again"):
        yield f"{number} photos and mirror images, {time_of}, s", f"{number / timed(work):.2f}"
    if setting.device.type == "cuda":
        for name, run in alone(setting).items():
            run()
            yield f"the network's answers alone, {name}, images/s", f"{run():.0f}"


def alone(setting: Setting) -> dict[str, Callable[[], float]]:
    """The forward pass over a batch that lies on the card, eager and as a graph."""
    model = setting.model().eval()
    images, _ = setting.random_batch(batch_of_predictions(setting.batch, setting.device))

    def forward(given: torch.Tensor) -> Any:
        return infer(model, given, setting.amp, torch.channels_last)

    def rate(function: Callable[[torch.Tensor], Any]) -> Callable[[], float]:
        def work() -> int:
            with torch.inference_mode():
                for _ in range(10):
                    function(images)
            return 10 * len(images)

        return lambda: timed(work)

    return {"eager": rate(forward), "graphed": rate(Graphed(forward, "the forward pass"))}


def compiling(size: Size) -> Iterator[Row]:
    """torch.compile: how long it takes, and what it gives, alone and in the graph."""
    if size is TINY:
        raise Skipped("no GPU")
    setting = size.setting(size.batches[-1])
    for options in ({"compile": True}, {"compile": True, "cuda_graph": True}):
        run = stepping(setting, setting.train_step(ema_decay=0.998, **options))
        began = time.perf_counter()
        # Its first call compiles; it is timed as a whole.
        run()
        name = f"batch {setting.batch}, steps with {' and '.join(options)}"
        yield f"{name}: the first 23, s", f"{time.perf_counter() - began:.1f}"
        yield f"{name}, images/s", f"{run():.0f}"


STEPS = {
    "people": Step(drawing, 40),
    "starting": Step(starting, 55),
    "extraction": Step(extraction, 25),
    "training, small batch": Step(training(0), 40),
    "training, large batch": Step(training(1), 40),
    "prediction": Step(prediction, 20),
    "compiling": Step(compiling, 100),
}
"""In the order in which they matter: the last is the first that a short loan leaves out."""

"""What does a GPU make of all this? One table within four minutes of a borrowed card.

    make gpu                                  (python -m benchmarks.gpu)
    python -m benchmarks.gpu --check          does everything that needs a GPU work? 2 minutes
    python -m benchmarks.gpu --tiny           the same on a CPU with next to nothing, for the tests

Measured, with a network's rate on data that lies on the card already as the limit: starting up,
TRACER alone and whole extraction, a training step by itself (eager, as a CUDA graph, compiled),
whole epochs through the Trainer with augmentation, metrics and moving average, the loop of timm's
script, prediction. Every step runs in a process of its own, which is ended after its time; what it
printed lies in a log beside the table. With a GPU the table is written to
benchmarks/results/gpu.md.
"""

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from base.cuda_graph import WARM_UP, Graphed
from base.inference import infer
from base.prefetch import Prefetcher
from base.train_step import TrainStep
from benchmarks import gpu_checks
from benchmarks.common import ROOT, in_turns, machine, sample_people, table, timed
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
from utils.cli import command_line, run_command
from utils.devices import peak_flops

RESULTS = ROOT / "benchmarks" / "results" / "gpu.md"
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
PATIENCE = 20
"""Times as long a step may take on a CPU: nobody lends one, but others use it meanwhile, so that
only what hangs is ended."""


class Step(NamedTuple):
    """A part of the table: what gives its rows, and the seconds after which it is ended."""

    run: Callable[[Size], Iterable[Row]]
    seconds: float


DONE = None
"""What a step's process sends behind its last row."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the steps and print one table; with 1, where a check failed."""
    parser = command_line(__doc__)
    parser.add_argument("--check", action="store_true", help="does it work, instead of how fast")
    parser.add_argument("--tiny", action="store_true", help="on the CPU, figures without meaning")
    parser.add_argument("--only", nargs="+", default=[], metavar="STEP", help="these steps alone")
    parser.add_argument("--out", type=Path, help="of the table; else as said above")
    args = parser.parse_args(argv)
    # Without a card the same code, so that tests find what is broken before one is borrowed.
    size = TINY if args.tiny or not has_gpu() else FULL
    steps, seconds = (checks(size), 120) if args.check else (STEPS, 240)
    if unknown := set(args.only) - steps.keys():
        parser.error(f"--only: no {', '.join(unknown)}; there are {', '.join(steps)}")
    patience = 1 if size is FULL else PATIENCE
    ends = time.perf_counter() + seconds * patience
    folder = Path(tempfile.mkdtemp(prefix="gpu-"))
    out = args.out or (RESULTS if size is FULL and not args.check else None)
    command = " ".join(["python -m benchmarks.gpu", *(argv or sys.argv[1:])])
    rows: list[Row] = []
    for name in args.only or steps:
        left = max(0.1, ends - time.perf_counter())
        step = steps[name]._replace(seconds=min(steps[name].seconds * patience, left))
        rows += in_its_time(name, step, size, folder / f"{name.replace(' ', '-')}.log")
        text = table(("step", "figure"), rows)
        if out:  # after each step: a loan may end before the last one does
            out.write_text(f"# On a GPU\n\n`{command}`\n\n{text}\n", encoding="utf-8")
    print(f"\n{text}\n\nlogs: {folder}")
    # Only now, when all other steps have been run and written.
    if any(figure.startswith("FAILED") for _, figure in rows):
        sys.exit(1)


def has_gpu() -> bool:
    """Whether torch finds one; asked in a process of its own, since the question begins CUDA's
    driver, and what is forked from a process that has begun it can use no GPU."""
    asking = multiprocessing.get_context("fork").Process(
        target=lambda: sys.exit(not torch.cuda.is_available())
    )
    asking.start()
    asking.join()
    return asking.exitcode == 0


def checks(size: Size) -> dict[str, Step]:
    """Each check as a step of one row."""

    def step(check: Callable[[torch.device], str]) -> Step:
        # Compiling takes half a minute; the first one reads libraries of gigabytes from the disk.
        seconds = 45 if check in gpu_checks.SLOW else 25 if check is gpu_checks.CHECKS[0] else 10

        def run(size: Size) -> list[Row]:
            if size.device == "cpu" and check not in gpu_checks.ANYWHERE:
                raise gpu_checks.Skipped("no GPU")
            return [(check.__name__, check(torch.device(size.device)))]

        return Step(run, seconds)

    return {check.__name__: step(check) for check in gpu_checks.CHECKS}


def in_its_time(name: str, step: Step, size: Size, log: Path) -> list[Row]:
    """The rows of a step, which runs in a process of its own, for as long as it may; printed as
    they come, and kept where a later one doesn't.

    Forked, since importing takes seconds; CUDA is begun in the child alone.
    """
    # No GPU is touched before: a CUDA context does not survive a fork.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_work, args=(name, step, size, log, theirs))
    began = time.perf_counter()
    child.start()
    assert child.pid is not None
    # Else this process would hold the pipe open, and never hear of the child's death.
    theirs.close()
    rows: list[Row] = []

    def note(what: str, figure: str) -> None:
        print(f"{what}: {figure}", flush=True)
        rows.append((what, figure))

    while True:
        if not ours.poll(max(0, began + step.seconds - time.perf_counter())):
            note(name, f"FAILED: not done in {step.seconds:.0f} s, see {log}")
            break
        try:
            row = ours.recv()
        except EOFError:  # it died without a word
            row = name, f"FAILED: see {log}"
        if row is DONE:
            break
        note(*row)
        if row[1].startswith("FAILED"):
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # with the loader processes that it began
    child.join()
    note(f"{name}: seconds in all", f"{time.perf_counter() - began:.1f}")
    return rows


def _work(name: str, step: Step, size: Size, log: Path, answer: Connection) -> None:
    # A group of its own, which can be ended whole.
    os.setpgid(0, 0)
    with open(log, "wb", buffering=0) as file:
        # By file descriptor: libraries in C write past sys.stdout.
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.dump_traceback_later(step.seconds * 0.9, file=2)  # into the log: where it hangs
    try:
        for row in step.run(size):
            answer.send(row)
    except gpu_checks.Skipped as reason:
        answer.send((name, f"skipped: {reason}"))
    except BaseException as error:
        traceback.print_exc()
        answer.send((name, f"FAILED: {type(error).__name__}: {error}".partition("\n")[0]))
    answer.send(DONE)
    sys.stdout.flush()
    signal.pause()  # until the parent ends it, with whatever it began


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
        raise gpu_checks.Skipped("no GPU")
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


if __name__ == "__main__":
    run_command(main)

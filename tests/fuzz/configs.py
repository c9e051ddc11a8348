"""Config files and command lines with anything wrong in them, up to the first photo.

Beside what the parser checks, the parts that a config names are built for a tiny model: optimizer,
schedule and losses take arguments that only their own code can check.
"""

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

from parse_config import ConfigParser
from tests.fuzz.mutate import damaged, mutated, odd_value, places
from utils.config_files import read_json5

CASES = 10_000
SLICE = 40
SECONDS = 10
ROOT = Path(__file__).resolve().parents[2]
RECIPES = ("config.json", "configs/sample.json", "configs/lite0_128.json")


def prepare(folder: Path) -> Callable[[random.Random], None]:
    """The recipes, and configs that say everything."""
    import numpy as np

    from base import task as tasks
    from base.train_step import backbone_modules
    from model.decoding import resolve_decoding
    from model.loss import check_losses
    from model.metric import find_metrics
    from model.model import TimmModelMulti
    from trainer import session

    models: dict[tuple, TimmModelMulti] = {}

    def build(config: ConfigParser) -> None:
        monitor = session.check_names(config)
        settings = config.settings.task
        columns = {head.column or name: "abc" for name, head in settings.heads.items()}
        task = tasks.build(settings, columns)
        find_metrics(task, config["metrics"])
        if any(head.num_classes > 100 for head in task.heads.values()):
            return
        sizes = tuple((name, head.num_classes) for name, head in task.heads.items())
        if sizes not in models:
            models[sizes] = TimmModelMulti(task, "test_resnet", pretrained=False)
        model = models[sizes]
        optimizer = session.build_optimizer(config, model)
        session.build_scheduler(config, optimizer, monitor, None, batches=7)
        check_losses(task, config["loss"], config["loss_name"], model.heads)
        backbone_modules(model, config.settings.trainer.freeze)
        counts = {name: np.ones(number) for name, number in model.heads.items()}
        resolve_decoding(
            config.settings.decoding, task, counts | {"class": np.ones(task.num_classes)}
        )

    files = [ROOT / recipe for recipe in RECIPES]
    recipes = [read_json5(file) for file in files]
    whole = [parse("-c", file).config for file in files]
    texts = [file.read_bytes() for file in files]
    options = [".".join(map(str, place)) for place in places(whole[0]) if place]

    def attempt(draw: random.Random) -> None:
        file = folder / "config.json"
        if draw.random() < 0.15:
            file.write_bytes(damaged(draw.choice(texts), draw))
        else:
            values = mutated(draw.choice(recipes + whole), draw)
            if isinstance(values, dict) and draw.random() < 0.03:
                values["_base_"] = odd_value(draw)
            file.write_text(json.dumps(values), encoding="utf-8", errors="surrogatepass")
        argv = ["-c", file]
        if draw.random() < 0.3:
            value = odd_value(draw)
            text = value if isinstance(value, str) else json.dumps(value)
            argv += ["--set", f"{draw.choice(options)}={text}"]
        if draw.random() < 0.1:
            argv += ["--run-id", str(odd_value(draw))]
        config = parse(*argv)
        config.warnings()
        build(config)

    return attempt


def parse(*argv: object) -> ConfigParser:
    """The config of a command line."""
    return ConfigParser.from_args(argparse.ArgumentParser(), argv=list(map(str, argv)))

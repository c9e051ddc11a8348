"""A tiny training on drawn shapes, which several subjects make wrong files from."""

import json
from pathlib import Path

from parse_config import ConfigParser
from tests.fuzz.configs import parse
from tests.other_tasks import TASKS
from tools.shapes import generate


def write_config(folder: Path) -> Path:
    """A config that trains within seconds, on photos below ``folder``."""
    generate(folder / "shapes", photos=18, eval_photos=3)
    schedule = {"type": "CosineAnnealingLR", "args": {"T_max": "all"}, "every": "step"}
    config = {
        "name": "shapes",
        "n_gpu": 0,
        "data_dir": str(folder / "shapes"),
        "task": TASKS["table"],
        "arch": {"args": {"model_name": "test_resnet", "pretrained": False}},
        "data_loader": {"args": {"input_size": 32, "batch_size": 4, "num_workers": 0}},
        "tracer": {"weights": None, "cache_dir": str(folder / "crops")},
        "optimizer": {"type": "AdamW", "args": {"lr": 0.003}},
        "lr_scheduler": schedule,
        "trainer": {"epochs": 2, "verbosity": 0, "save_every_steps": 2, "keep_last": 9,
                    "ema_decay": 0.9,
                    "save_dir": str(folder / "saved"), "report": False},
        "explain": False,
    }  # fmt: skip
    path = folder / "shapes.json"
    path.write_text(json.dumps(config))
    return path


def train(*argv: object) -> ConfigParser:
    """Train in this process as the command line says."""
    from trainer import session

    config = parse(*argv)
    config.args.init_from, config.args.folds = None, None
    session.train(config)
    return config

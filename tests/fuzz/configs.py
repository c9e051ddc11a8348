"""Config files and command lines with anything wrong in them, up to the first photo.

Beside what the parser checks, the parts that a config names are built for a tiny model: optimizer,
schedule and losses take arguments that only their own code can judge.
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
    from trainer.session import check_names

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
        check_names(config)

    return attempt


def parse(*argv: object) -> ConfigParser:
    """The config of a command line."""
    return ConfigParser.from_args(argparse.ArgumentParser(), argv=list(map(str, argv)))

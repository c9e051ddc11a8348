"""Config files for tests, and what the parser makes of them or says against them."""

import argparse
import json
from pathlib import Path

import pytest

from parse_config import ConfigParser
from utils.errors import ConfigError


def write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return str(path)


def parse(*argv, parser=None, options=()):
    return ConfigParser.from_args(parser or argparse.ArgumentParser(), options, list(argv))


def error_of(*argv):
    with pytest.raises(ConfigError) as caught:
        parse(*argv)
    return str(caught.value)


def with_config(values, *argv):
    return parse("-c", write("config.json", {"name": "test", **values}), *argv)


def error_with_config(values, *argv):
    return error_of("-c", write("config.json", {"name": "test", **values}), *argv)

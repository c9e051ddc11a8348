"""What visitors of the page send: photos of any shape, damaged or something else, under any name.

Each is answered and explained as on the page, by a small untrained network behind the sample
TRACER, and what the page shows of it is made: cards in both languages, the table, its CSV.
"""

import csv
import io
import random
from collections.abc import Callable
from pathlib import Path

import torch

from app_parts.answers import answer, explain
from app_parts.cards import photo_card, problem_lines
from app_parts.table import answers_table, csv_bytes
from app_parts.uploads import UploadProblem
from app_parts.words import LANGUAGES
from base.task import load_task
from model.model import TimmModelMulti
from tests.fuzz import pictures
from tests.fuzz.tables import CELLS
from TRACER.extractor import Extractor
from TRACER.settings import CropSettings
from TRACER.weights import load_tracer
from trainer.inference import Predictor
from trainer.photo_model import PhotoModel
from utils.csv_files import plain_cell, safe_cell
from utils.errors import PhotoError
from utils.images import FORMATS

CASES = 300
SLICE = 6
SECONDS = 30
NAMES = (
    "<script>alert(1)</script>.jpg", '"><img src=x onerror=alert(1)>.png', "=cmd|'/c calc'!A1.jpg",
    "a\nb.jpg", "\u202egpj.exe", "../../x.jpg", "가" * 255, "a.jpg", *CELLS,
)  # fmt: skip


def prepare(folder: Path) -> Callable[[random.Random], None]:
    """The network."""
    torch.manual_seed(0)
    task = load_task("faces")
    network = TimmModelMulti(task, "test_resnet", pretrained=False).eval()
    extractor = Extractor(load_tracer("sample"), CropSettings(crop_size=32))
    model = PhotoModel(Predictor(network, task), extractor, 32)
    sound = [data for kind in (*FORMATS, "MPO") for data in pictures.of_kind(kind)]
    file = folder / "upload"

    def attempt(draw: random.Random) -> None:
        file.unlink(missing_ok=True)
        if draw.random() < 0.5:
            file.write_bytes(pictures.drawn(draw)[0])
        else:
            draw.choice(pictures.WRONGS)(file, draw.choice(sound), draw)
        data = file.read_bytes() if regular(file) else b""
        name = draw.choice(NAMES).encode("utf-8", "replace").decode()  # as it comes over HTTP
        try:
            shown = answer([model], data)
        except UploadProblem as problem:
            assert problem.reason != "failed", problem.__cause__
            for language in LANGUAGES:
                harmless(problem_lines([(name, problem.reason)], language))
            raise PhotoError(problem.reason) from problem
        explain(model, shown)
        assert shown.heat, "the photo could not be explained"
        for language in LANGUAGES:
            harmless(photo_card(name, shown, language))
            table = answers_table([(name, shown.answer)], language)
            rows = list(csv.reader(io.StringIO(csv_bytes(table, language).decode("utf-8-sig"))))
            assert len(rows) == 2 and rows[1][0] == safe_cell(plain_cell(rows[1][0]))

    return attempt


def regular(file: Path) -> bool:
    """Whether a browser could have sent it."""
    return not file.is_symlink() and file.is_file() and file.stat().st_size < 2**30


def harmless(html: str) -> None:
    """Nothing of a name has become HTML."""
    assert "<script" not in html and "<img src=x" not in html

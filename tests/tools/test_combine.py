from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from logger.predictions import read_predictions, write_predictions
from tests.logger.test_predictions import predictions_of
from tests.trainer.test_folds import answers_of
from tools.combine import main
from tools.tune_decoding import find_answers
from utils.errors import ConfigError, UserError


@pytest.fixture
def runs(tmp_path):
    """Two files of answers: the first right about every other photo, the other about all but
    the last, which it did not answer, and the surer of the two."""
    one = answers_of(tmp_path, 0, [f"a/mask{number}" for number in range(8)])
    saved = read_predictions(one)
    blurred = {"class": saved.probabilities["class"] * 0.4 + 0.6 / 18}
    write_predictions(one, replace(saved, probabilities=blurred))
    right = {"class": np.eye(18)[saved.truth()["class"]]}
    write_predictions(tmp_path / "b.npz", replace(saved, probabilities=right).at(range(7)))
    return [str(one), str(tmp_path / "b.npz")]


def test_the_mean_of_two_trainings_is_written_and_all_are_scored_on_the_same_photos(
    runs, tmp_path, capsys
):
    main([*runs, "--out", str(tmp_path / "both")])
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line]
    cells = [[cell.strip() for cell in line[1:-1]] for line in lines]
    accuracy = next(place for place, cell in enumerate(cells[0]) if cell.startswith("accuracy"))
    scores = {line[0]: (line[2], line[accuracy]) for line in cells[2:]}
    assert scores == {
        runs[0]: ("7", "0.4286"), runs[1]: ("7", "1.0000"), "together": ("7", "1.0000")
    }  # fmt: skip
    # Where the others look for the answers of a run.
    assert len(read_predictions(find_answers(tmp_path / "both"))) == 7


def test_what_cannot_be_combined_is_one_line(runs, tmp_path, capsys):
    with pytest.raises(UserError, match="is there already"):
        main([*runs, "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main([runs[0], "--out", str(tmp_path / "new")])
    assert "two or more trainings" in capsys.readouterr().err
    shape = {"shape": {"classes": ["round", "long"]}}
    write_predictions(Path(runs[1]), predictions_of(shape, {"shape": np.array([0, 1])}))
    with pytest.raises(ConfigError, match="mask differs"):
        main([*runs, "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()

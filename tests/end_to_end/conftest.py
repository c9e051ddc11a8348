"""What several of the commands' tests start from."""

import pytest

from tests.other_tasks import copy_eval
from tests.runs import trains


@pytest.fixture(scope="session")
def answers(product_config):
    """The true classes."""
    return product_config.with_name("answers.csv")


@pytest.fixture(scope="session")
def scored(trained_shapes, answers, run):
    """The documented command with ``--answers``, called where the training was."""
    result = run(
        "test.py", "--config", trained_shapes.config, "--resume", trained_shapes.best,
        "--answers", answers, cwd=trained_shapes.home,
    )  # fmt: skip
    assert result.returncode == 0, result
    return result


@pytest.fixture(scope="session")
def submission(scored, trained_shapes):
    return trained_shapes.home / "submit" / "shapes_first.csv"


@pytest.fixture
def predict(call, trained_shapes):
    """``predict(…)``: test.py with the trained model, in this process."""
    return lambda *options: call("test.py", "-r", trained_shapes.best, *options)


@pytest.fixture
def own_data(shapes, tmp_path):
    """A copy of the photos to test on and their table, to be spoilt."""
    return copy_eval(shapes, tmp_path / "data")


@pytest.fixture
def train(call, shapes_config):
    """``train("run", …)``: one epoch on the shapes under that run id, in this process."""
    return trains(call, shapes_config)

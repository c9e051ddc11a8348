"""The page as a script: what it says without a model, and with one that is wrong."""

import sys

import pytest
from streamlit.testing.v1 import AppTest

from base.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def page(tmp_path, monkeypatch, request):
    """``page("--resume", …)``: the page after its first run, in an empty folder."""
    script = request.config.rootpath / "app.py"

    def _page(*options):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, options)])
        return AppTest.from_file(script, default_timeout=60).run()

    return _page


def html_of(at):
    return " ".join(element.proto.body for element in at.get("html"))


def test_without_a_checkpoint_it_says_how_to_get_one(page):
    at = page()
    assert not at.exception
    for command in ("make app", "python train.py", "--resume CHECKPOINT"):
        assert command in html_of(at)


def test_without_a_checkpoint_it_says_so_in_korean_too(page):
    at = page()
    at.session_state["language"] = "ko"
    at.run()
    assert "아직 학습된 모델이 없습니다" in html_of(at)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resume", "nowhere.pth"], "nowhere.pth: no such checkpoint"),
        (["--nonsense"], "nonsense"),
    ],
)
def test_a_wrong_command_line_is_one_line_on_the_page(page, options, words):
    at = page(*options)
    assert not at.exception
    assert len(at.error) == 1 and words in at.error[0].value


def test_a_file_that_is_no_checkpoint_is_one_line_on_the_page(page, tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"broken")
    at = page("--resume", "broken.pth")
    assert not at.exception
    assert len(at.error) == 1 and "broken.pth" in at.error[0].value


def test_models_under_saved_are_offered_and_the_named_one_is_chosen(page, trained):
    at = page("--resume", trained.best, "--saved", trained.home / "saved")
    assert not at.exception
    (models,) = at.multiselect
    assert models.options == ["tiny / first"] and len(models.value) == 1
    assert "test_resnet, 32 px" in at.sidebar.caption[0].value


@pytest.mark.parametrize(("drawn", "notices"), [(True, 1), (False, 0)])
def test_a_model_of_drawn_people_says_so(page, trained, tmp_path, drawn, notices):
    state = load_checkpoint(trained.best)
    save_checkpoint(tmp_path / "model.pth", state | {"drawn": drawn})
    at = page("--resume", "model.pth")
    assert not at.exception
    assert len(at.warning) == notices
    assert all("drawn people only" in warning.value for warning in at.warning)


def test_the_title_asks_what_the_models_task_asks(page, trained):
    at = page("--resume", trained.best)
    assert "<h1>Mask, gender, age</h1>" in html_of(at)
    assert "TRACER finds the person" in html_of(at)


def test_with_no_model_chosen_it_asks_for_one(page, trained):
    at = page("--resume", trained.best)
    at.multiselect[0].set_value([]).run()
    assert not at.exception
    assert "Choose at least one model" in at.info[0].value

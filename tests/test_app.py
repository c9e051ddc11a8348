"""The page as a script: what it says without a model, and with one that is wrong."""

import importlib.util
import sys

import pytest
from PIL import Image
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.testing.v1 import AppTest

from base.checkpoint import load_checkpoint, save_checkpoint
from tests.pictures import encoded


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


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("/srv/me and you/saved/x.pth: no such checkpoint", "x.pth: no such checkpoint"),
        ("x.pth: of /home/a/y.pth and C:\\a b\\z.pth", "x.pth: of y.pth and z.pth"),
        (
            "saved/models/x.pth: not a checkpoint; use 1/2",
            "saved/models/x.pth: not a checkpoint; use 1/2",
        ),
    ],
)
def test_visitors_are_not_told_where_things_lie(request, message, shown):
    spec = importlib.util.spec_from_file_location("page", request.config.rootpath / "app.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.without_folders(message) == shown


def test_an_error_names_no_folder_of_the_server(page, tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"broken")
    at = page("--resume", tmp_path / "broken.pth")
    assert "broken.pth" in at.error[0].value and str(tmp_path) not in at.error[0].value


@pytest.fixture
def kept(monkeypatch):
    """Name → bytes of every file that Streamlit keeps."""
    managers = []
    before = MemoryUploadedFileManager.__init__

    def remember(self, *args, **options):
        before(self, *args, **options)
        managers.append(self)

    monkeypatch.setattr(MemoryUploadedFileManager, "__init__", remember)

    def _kept():
        sent = managers[-1].file_storage.values()  # the page has one a run here
        return {file.name: len(file.data) for files in sent for file in files.values()}

    return _kept


@pytest.fixture
def photos():
    """Names and pictures, one of them a line."""
    sizes = {"a.png": (40, 30), "line.png": (1, 1440), "b.png": (30, 40), "c.png": (20, 20)}
    return [
        (name, encoded(Image.new("RGB", size, "gray"), "PNG"), "image/png")
        for name, size in sizes.items()
    ]


def test_of_too_many_photos_the_page_answers_some_and_keeps_no_more(
    page, trained, photos, kept, monkeypatch
):
    monkeypatch.setattr("app_parts.uploads.MAX_PHOTOS", 2)
    at = page("--resume", trained.best)
    at.file_uploader[0].set_value(photos).run()
    assert not at.exception
    assert html_of(at).count("<article") == 2
    assert "2 photos more than the 2 that are answered" in html_of(at)
    assert [name for name, size in kept().items() if size] == ["a.png", "line.png"]
    at.file_uploader[0].set_value(photos[1:]).run()  # the first one is taken out
    assert not at.exception
    assert "can't be read" not in html_of(at) and "unreadable" not in html_of(at)


def test_what_is_put_away_is_freed(page, trained, photos, kept):
    at = page("--resume", trained.best)
    at.file_uploader[0].set_value([*photos, ("broken.png", b"broken", "image/png")]).run()
    assert html_of(at).count("<article") == 4 and "broken.png" in html_of(at)
    (clear,) = [button for button in at.button if button.label == "Remove all photos"]
    clear.click().run()
    assert not at.exception and not kept()

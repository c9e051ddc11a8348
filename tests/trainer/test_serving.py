"""Photos are answered over HTTP as test.py answers them, and what is none is refused in a line."""

import io
import socket

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from parse_config import ConfigParser
from trainer.photo_model import PhotoModel, answer_photo
from trainer.serving import make_app, serve
from utils.errors import UserError
from utils.images import decode_image


@pytest.fixture(scope="module")
def model(trained_shapes):
    checkpoint = trained_shapes.best
    config = ConfigParser({"name": "none"}).for_checkpoint(checkpoint)
    return PhotoModel.restore(config, checkpoint, torch.device("cpu"))


@pytest.fixture(scope="module")
def client(model):
    with TestClient(make_app([model])) as client:
        yield client


@pytest.fixture
def photo():
    pixels = np.random.default_rng(0).integers(0, 255, (48, 36, 3), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_a_photo_is_answered_as_by_the_model_itself(client, model, photo):
    said = client.post("/answer", content=photo)
    assert said.status_code == 200
    expected = answer_photo([model], decode_image(photo))
    assert said.json()["class"] == expected.predicted["class"]
    assert said.json()["sentence"] == expected.sentence("en")
    colors = said.json()["heads"]["colour"]["probabilities"]
    assert list(colors) == ["blue", "green", "red"]
    assert list(colors.values()) == pytest.approx(
        expected.probabilities["colour"].tolist(), abs=1e-6
    )


def test_a_form_is_taken_too(client, photo):
    as_form = client.post("/answer", files={"photo": ("a.png", photo)})
    assert as_form.json() == client.post("/answer", content=photo).json()
    wrong = client.post("/answer", files={"picture": ("a.png", photo)})
    assert (wrong.status_code, "named 'photo'" in wrong.json()["error"]) == (400, True)


def _bomb():
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 415, "empty"),
        (b"%!PS-Adobe-3.0", 415, "not an image"),
        (b"\x00" * (20 * 2**20 + 1), 413, "20 MB"),
        (_bomb(), 415, "at most 64 million"),
    ],
    ids=("nothing", "PostScript", "large", "bomb"),
)
def test_what_is_no_photo_is_refused_in_a_line_and_the_next_one_is_answered(
    client, photo, body, status, word
):
    refused = client.post("/answer", content=body)
    assert (refused.status_code, word in refused.json()["error"]) == (status, True), refused.text
    assert "\n" not in refused.json()["error"]
    assert client.post("/answer", content=photo).status_code == 200


def test_an_error_of_the_program_is_json_too_and_names_no_place_of_the_server(photo):
    broken = TestClient(make_app([None]), raise_server_exceptions=False)
    failed = broken.post("/answer", content=photo)
    assert (failed.status_code, failed.json()) == (
        500,
        {"error": "the photo could not be answered"},
    )


def test_health_names_the_task(client):
    assert client.get("/health").json() == {"task": "table", "models": 1}
    assert client.get("/elsewhere").json() == {"error": "Not Found"}


def test_a_port_in_use_is_said_before_a_model_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="choose another --port"):
            serve(ConfigParser({"name": "none"}), "127.0.0.1", port, "en")

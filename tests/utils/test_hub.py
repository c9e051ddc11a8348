"""Whether weights can be had is said in seconds, with and without network."""

import http.server
import threading

import pytest
import torch

from utils.hub import answers, url_weights_at_hand


@pytest.fixture
def server():
    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response({"/broken": 503, "/gone": 404}.get(self.path, 200))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as serving:
        threading.Thread(target=serving.serve_forever, args=[0.02], daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.mark.parametrize(("page", "heard"), [("", True), ("/gone", True), ("/broken", False)])
def test_a_server_that_says_anything_but_an_error_of_its_own_is_there(
    server, page, heard, monkeypatch
):
    monkeypatch.setenv("no_proxy", "*")
    assert answers(server + page) is heard


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address at all", "http://[broken"])
def test_where_nothing_answers_there_is_nothing(address, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    assert not answers(address, seconds=2)


def test_weights_in_the_cache_ask_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "net.pth").touch()
    assert url_weights_at_hand("http://127.0.0.1:9/net.pth")

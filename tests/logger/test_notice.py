"""Somebody elsewhere is told that a training has ended, and how; no address, no training."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from logger.notice import Notice, require_address
from utils.errors import ConfigError, UserError


@pytest.fixture
def posted(monkeypatch):
    """What a server on this machine was sent, while it is ``NOTIFY_URL``."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NOTIFY_URL", f"http://127.0.0.1:{server.server_port}/hook")
    yield bodies
    server.shutdown()
    server.server_close()


def test_a_webhook_is_told_the_best_score(posted):
    notice = Notice("webhook", "faces/first", "val/f1")
    notice.on_train_end([{"val/f1": 0.5}, {"val/f1": 0.75}], 2)
    text = "faces/first has finished: val/f1 0.7500 in epoch 2"
    assert posted == [{"text": text, "content": text}]


def test_a_failure_is_told_with_its_reason(posted):
    Notice("webhook", "faces/first", None).on_exception(UserError("no space is left"))
    assert posted[0]["text"] == "faces/first has ended: no space is left"


def test_the_bell_rings_in_the_terminal(capsys):
    Notice("bell", "faces/first", "val/f1").on_train_end([], None)
    assert capsys.readouterr().err == "\afaces/first has finished\n"


@pytest.mark.parametrize("address", [None, "file:///etc/passwd", "hooks"])
def test_a_webhook_without_a_web_address_is_refused_before_the_training(monkeypatch, address):
    monkeypatch.delenv("NOTIFY_URL", raising=False)
    if address:
        monkeypatch.setenv("NOTIFY_URL", address)
    with pytest.raises(ConfigError, match="NOTIFY_URL"):
        require_address("webhook")

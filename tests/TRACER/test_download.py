"""Downloads have limits."""

import contextlib
import socket
import threading
import time

import pytest

from TRACER.download import DownloadError, download


@pytest.fixture
def slow_server():
    """Its address, and the list of what it sends to whoever connects, a byte at a time."""
    listening = socket.create_server(("127.0.0.1", 0))
    sends, held = [], []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                held.append(connection)
                for byte in sends:
                    connection.send(bytes([byte]))
                    time.sleep(0.02)

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", sends
    listening.close()


def test_a_server_or_proxy_that_never_answers_is_given_up_soon(slow_server, tmp_path, monkeypatch):
    monkeypatch.setattr("TRACER.download.TIMEOUT_SECONDS", 0.2)
    with pytest.raises(DownloadError, match="timed out"):
        download(f"{slow_server[0]}/te0.pth", tmp_path / "te0.pth")


def test_a_download_has_a_limit_in_all_however_steadily_it_drips(
    slow_server, tmp_path, monkeypatch
):
    monkeypatch.setattr("TRACER.download.LIMIT_SECONDS", 0.5)
    url, sends = slow_server
    sends += b"HTTP/1.1 200 OK\r\n\r\n" + bytes(500)
    with pytest.raises(DownloadError, match="more than"):
        download(f"{url}/te0.pth", tmp_path / "te0.pth")

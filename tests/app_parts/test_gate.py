"""What stands before the page, around a stand-in for Streamlit."""

import asyncio

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from app_parts import gate
from app_parts.gate import Gate


class Server:
    """Streamlit's runtime, as far as the gate knows it."""

    def __init__(self):
        self.uploaded_file_mgr = MemoryUploadedFileManager("/_stcore/upload_file")
        self.here = set()

    def is_active_session(self, session):
        return session in self.here

    def close_session(self, session):
        self.uploaded_file_mgr.remove_session_files(session)

    def add(self, session, number=1, size=10):
        for place in range(number):
            record = UploadedFileRec(f"{session} {place}", "a.jpg", "image/jpeg", b"x" * size)
            self.uploaded_file_mgr.add_file(session, record)

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(gate, "get_instance", lambda: server)
    return server


def status(app, path, method="GET"):
    answers = []

    async def send(message):
        answers.append(message)

    asyncio.run(app({"type": "http", "method": method, "path": path}, None, send))
    return answers[0]["status"]


def put(app, session):
    return status(app, f"/_stcore/upload_file/{session}/file", "PUT")


@pytest.mark.parametrize(
    "path", ["/_stcore/metrics", "/_stcore/metrics/", "/below/_stcore/metrics"]
)
def test_nobody_is_told_who_visits(server, path):
    assert status(Gate(server), path) == 404
    assert status(Gate(server), "/_stcore/health") == 204


def test_a_visitor_may_send_so_many_files_and_bytes(server, monkeypatch):
    monkeypatch.setattr(gate, "MAX_VISITOR_FILES", 3)
    monkeypatch.setattr(gate, "MAX_VISITOR_MEGABYTES", 1)
    app = Gate(server)
    server.add("many", 2)
    server.add("large", 1, 2**20)
    assert put(app, "many") == put(app, "large") == put(app, "other") == 204
    server.add("many", 3)
    server.add("large", 2, 2**20)
    assert put(app, "many") == put(app, "large") == 413
    assert put(app, "other") == 204


def test_all_together_may_send_so_much(server, monkeypatch):
    monkeypatch.setattr(gate, "MAX_TOTAL_MEGABYTES", 1)
    app = Gate(server)
    for visitor in "abc":
        server.add(visitor, 1, 2**19)
    assert put(app, "d") == 413
    server.close_session("a")
    server.close_session("b")
    assert put(app, "d") == 204


def test_what_somebody_sent_is_freed_some_time_after_they_left(server, monkeypatch):
    now = 0.0
    monkeypatch.setattr(gate.time, "monotonic", lambda: now)
    app = Gate(server)
    server.here = {"stays", "leaves", "comes back"}
    for session in server.here:
        put(app, session)
        server.add(session)
    files = server.uploaded_file_mgr.file_storage
    server.here = {"stays"}
    app.sweep()
    now = 20.0
    server.here.add("comes back")
    app.sweep()
    assert len(files) == 3
    server.here.discard("comes back")
    now = 31.0
    app.sweep()
    assert set(files) == {"stays", "comes back"}
    now = 62.0
    app.sweep()
    assert set(files) == {"stays"}


def test_whoever_closes_the_page_is_looked_after_without_another_visitor(server, monkeypatch):
    monkeypatch.setattr(gate, "GRACE", 0.01)
    app = Gate(server)

    async def visit():
        await app(
            {"type": "http", "method": "PUT", "path": "/_stcore/upload_file/somebody/file"},
            None,
            ignore,
        )
        server.add("somebody")
        await app({"type": "websocket", "path": "/_stcore/stream"}, None, ignore)
        assert server.uploaded_file_mgr.file_storage
        await asyncio.sleep(1.1)

    async def ignore(message):
        pass

    asyncio.run(visit())
    assert not server.uploaded_file_mgr.file_storage

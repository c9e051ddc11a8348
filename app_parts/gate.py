"""What stands before the page: no upload beyond the limits, nothing kept of who has left.

Streamlit keeps what visitors sent until others have come and gone; it bounds the size of a file and
not their sum; and it tells anybody who asks how many there are (/_stcore/metrics).
"""

import asyncio
import ctypes
import sys
import time
from typing import cast

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime import get_instance
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from app_parts.uploads import MAX_TOTAL_MEGABYTES, MAX_VISITOR_FILES, MAX_VISITOR_MEGABYTES

GRACE = 30.0
"""Seconds after which who has lost the connection has left; a phone may change networks in them."""
METRICS, UPLOAD = "/_stcore/metrics", "/_stcore/upload_file/"


class Gate:
    """ASGI middleware around Streamlit."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._absent_since: dict[str, float | None] = {}
        """Session of who has sent something → since when it has no connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        # endswith, since a proxy may serve the page below a path.
        if path.rstrip("/").endswith(METRICS):
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "PUT" and UPLOAD in path:
            session = path.partition(UPLOAD)[2].partition("/")[0]
            # Asked before the body is read: a refused upload takes no memory.
            if is_full(session):
                await PlainTextResponse("Too much at a time", 413)(scope, receive, send)
                return
            self._absent_since.setdefault(session, None)
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            try:
                await self.app(scope, receive, send)
            finally:
                # Twice: now, to note who has gone, and after the grace period, to end them.
                self.sweep()
                asyncio.get_running_loop().call_later(GRACE + 1, self.sweep)
        else:
            await self.app(scope, receive, send)

    def sweep(self) -> None:
        """End the sessions of those who have been away for long enough."""
        runtime, now = get_instance(), time.monotonic()
        for session, since in list(self._absent_since.items()):
            # Back again, such as after the phone changed its network.
            if runtime.is_active_session(session):
                self._absent_since[session] = None
            elif since is None:
                self._absent_since[session] = now
            elif now - since >= GRACE:
                runtime.close_session(session)
                del self._absent_since[session]
        if sys.platform == "linux":
            # glibc would keep what was freed for the thread that freed it.
            getattr(ctypes.CDLL(None), "malloc_trim", int)(0)


def is_full(session: str) -> bool:
    """Whether a visitor, or all together, have sent as much as may be kept."""
    files = cast(MemoryUploadedFileManager, get_instance().uploaded_file_mgr).file_storage
    # Copies by list(): other threads change these dicts meanwhile.
    sizes = {
        name: [len(file.data) for file in list(sent.values())] for name, sent in list(files.items())
    }
    own, total = sizes.get(session, []), sum(map(sum, sizes.values()))
    return (
        len(own) >= MAX_VISITOR_FILES
        or sum(own) > MAX_VISITOR_MEGABYTES * 2**20
        or total > MAX_TOTAL_MEGABYTES * 2**20
    )

"""Fetching a large file over HTTP so that a broken connection costs only what was not yet read."""

import http.client
import os
import time
import urllib.error
import urllib.request
from pathlib import Path

from filelock import FileLock

from utils.progress import Progress

CHUNK = 1 << 18
ATTEMPTS = 3
TIMEOUT_SECONDS = 10
"""For an answer, and between two pieces of it."""
LIMIT_SECONDS = 3600
"""For all of a file."""


class DownloadError(Exception):
    """The file could not be fetched; the message is the reason alone."""


def download(url: str, path: Path) -> None:
    """Fetch ``url`` to ``path`` with a progress bar, unless the file is there already.

    What has arrived waits in ``<path>.part`` and is continued after a break, in the same call or a
    later one. Several processes may call this at once; one of them fetches.

    Raises:
        DownloadError: the server cannot be reached, has no such file, or breaks off repeatedly.
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        # Asked under the lock: the process that held it has fetched the file.
        if path.exists():
            return
        part = path.with_name(path.name + ".part")
        deadline = time.monotonic() + LIMIT_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _fetch_rest(url, part, deadline)
                break
            except urllib.error.HTTPError as error:
                # A 404 does not change by asking again, a lost connection may.
                raise DownloadError(f"the server answered {error.code} {error.reason}") from error
            except (OSError, http.client.HTTPException) as error:
                if attempt == ATTEMPTS:
                    raise DownloadError(_reason(error)) from error
        # Only now is there a file of that name: it is whole, or there is none.
        os.replace(part, path)


def _fetch_rest(url: str, part: Path, deadline: float) -> None:
    """Append to ``part`` what is missing of the file, or start over where that is impossible.

    Raises:
        OSError, http.client.HTTPException: the connection failed or broke off.
    """
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        # 416: what lies here is as long as the file or longer, that is, of another version.
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.unlink()
        return _fetch_rest(url, part, deadline)
    with response:
        # A server that knows no ranges answers 200, with the file from its beginning.
        continued = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = done if continued else 0
        total = done + response.length if response.length is not None else None
        with (
            open(part, "ab" if continued else "wb") as file,
            Progress(
                total=total, initial=done, unit="B", unit_scale=True, desc=url.split("/")[-1]
            ) as bar,
        ):
            # read1 returns what is there; read would wait for a whole chunk, past the timeout.
            while chunk := response.read1(CHUNK):
                if time.monotonic() > deadline:
                    raise DownloadError(f"it took more than {LIMIT_SECONDS // 60} minutes")
                file.write(chunk)
                bar.update(len(chunk))
    # http.client ends quietly where a connection breaks off.
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"broke off at {part.stat().st_size:,} of {total:,} bytes")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)

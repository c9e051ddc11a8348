"""Visitors of the page who come, send photos and go, and what its memory makes of them.

    python -m benchmarks.app_soak --resume saved/models/sample/demo/best_epoch.pth

Starts the page as `streamlit run app.py` does and speaks to it as a browser would, over its
WebSocket and its upload address. Each visit sends a few photos, waits for the answers, and leaves
without a word. Every tenth photo is broken, and some are as large as cameras make them. Prints the
memory of the page as it goes, and exits with 1 where at the end it holds more than `--grown` of
what it held after the first 50 uploads.
"""

import argparse
import asyncio
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string
from websockets.typing import Subprotocol

from benchmarks.common import ROOT, free_port
from faces.sample import generate
from utils.cli import command_line, run_command
from utils.images import decode_image
from utils.progress import Progress

FIRST = 50
"""Uploads after which the page has done everything once: models, threads, caches of libraries."""


def main() -> None:
    """Parse, start the page, send visitors, evaluate."""
    parser = command_line(__doc__)
    parser.add_argument("--resume", required=True, help="checkpoint that answers")
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--visitors", type=int, default=8, help="who are there at a time")
    parser.add_argument("--grown", type=float, default=1.1, help="largest allowed ratio")
    parser.add_argument("--rest", type=float, default=40, help="seconds after the last visitor")
    args = parser.parse_args()
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port",
               str(port), "--server.headless", "true", "--", "--resume", args.resume]  # fmt: skip
    # A process of its own, as its memory is what is measured.
    page = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health")
        sys.exit(asyncio.run(soak(args, port, page.pid)))
    finally:
        page.terminate()
        page.wait()


async def soak(args: argparse.Namespace, port: int, pid: int) -> int:
    """Send the visitors; the exit code."""
    # The same visits each time; only their order in time differs.
    draw = random.Random(0)
    photos = some_photos()
    left, done, at_first = args.uploads, 0, 0.0
    bar = Progress(total=args.uploads, unit="photo")

    async def visitor() -> None:
        nonlocal left, done, at_first
        while left > 0:
            # Mostly single photos, sometimes an album.
            number = min(draw.choice((1, 1, 2, 5, 10, 20)), left)
            left -= number
            # No pause: the next one comes as soon as this one has left.
            await visit(port, draw.choices(photos, k=number))
            done += number
            bar.update(number)
            if done >= FIRST and not at_first:
                at_first = resident(pid)
                Progress.write(f"after {done} uploads: {at_first:.0f} MiB")
            if done // 100 > (done - number) // 100:
                Progress.write(f"after {done} uploads: {resident(pid):.0f} MiB")

    await asyncio.gather(*(visitor() for _ in range(args.visitors)))
    bar.close()
    print(f"after {done} uploads: {resident(pid):.0f} MiB, peak {resident(pid, 'VmHWM'):.0f} MiB")
    # Longer than gate.GRACE, after which who has left is forgotten.
    await asyncio.sleep(args.rest)
    at_end = resident(pid)
    print(f"{args.rest:.0f} s later: {at_end:.0f} MiB, {at_end / at_first:.2f} times the first")
    return int(at_end > args.grown * at_first)


def resident(pid: int, what: str = "VmRSS") -> float:
    """Memory of a process, MiB."""
    (kilobytes,) = re.findall(rf"{what}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) / 1024


async def visit(port: int, photos: list[bytes]) -> None:
    """One visitor: opens the page, sends photos, waits until all are answered, closes the tab."""
    # Streamlit takes uploads only with the token of a page's cookie.
    token = generate_xsrf_token_string()
    cookie = {"Cookie": f"_streamlit_xsrf={token}"}
    async with websockets.connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        subprotocols=[Subprotocol(each) for each in ("streamlit", token)],
        additional_headers=cookie, max_size=None,
    ) as page:  # fmt: skip
        # A first run without widgets: it tells what the uploader is called.
        start = BackMsg()
        start.rerun_script.query_string = ""
        await page.send(start.SerializeToString())
        told = await until_finished(page)
        session = told["session"]
        # A browser asks for an address for each file before it sends any.
        asked = BackMsg()
        asked.file_urls_request.request_id = "photos"
        asked.file_urls_request.session_id = session
        asked.file_urls_request.file_names.extend(f"{n}.jpg" for n in range(len(photos)))
        await page.send(asked.SerializeToString())
        while True:
            message = ForwardMsg.FromString(await page.recv())
            if message.WhichOneof("type") == "file_urls_response":
                urls = list(message.file_urls_response.file_urls)
                break
        rerun = BackMsg()
        # Then the page runs again, with the files as the uploader's value.
        state = rerun.rerun_script.widget_states.widgets.add()
        state.id = told["uploader"]
        for number, (url, photo) in enumerate(zip(urls, photos, strict=True)):
            address = f"http://127.0.0.1:{port}{url.upload_url}"
            # urllib blocks; in the loop one visitor would keep all others waiting.
            await asyncio.to_thread(upload, address, photo, {"X-Xsrftoken": token, **cookie})
            info = state.file_uploader_state_value.uploaded_file_info.add()
            info.file_id, info.name, info.size = url.file_id, f"{number}.jpg", len(photo)
            info.file_urls.CopyFrom(url)
        await page.send(rerun.SerializeToString())
        told = await until_finished(page)
        # Cards of answers, and lines of what was left out; one of both for each photo.
        answered = told["html"].count("<article") + told["html"].count("<li><b>")
        assert answered, f"no answer to {len(photos)} photos: {told['html'][:300]}"


def upload(address: str, photo: bytes, headers: dict[str, str]) -> None:
    """Send a file as a form does."""
    head = b'--photo\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n\r\n'
    headers |= {"Content-Type": "multipart/form-data; boundary=photo"}
    body = head + photo + b"\r\n--photo--\r\n"
    urllib.request.urlopen(urllib.request.Request(address, body, headers, method="PUT")).close()


async def until_finished(page) -> dict[str, str]:
    """What a run of the page says: session, uploader, and all its HTML."""
    told = {"session": "", "uploader": "", "html": ""}
    while True:
        message = ForwardMsg.FromString(await asyncio.wait_for(page.recv(), 600))
        kind = message.WhichOneof("type")
        if kind == "new_session":
            told["session"] = message.new_session.initialize.session_id
        elif kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            if element.WhichOneof("type") == "file_uploader":
                told["uploader"] = element.file_uploader.id
            elif element.WhichOneof("type") == "html":
                told["html"] += element.html.body
        elif kind == "script_finished":
            assert message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY, message
            return told


def some_photos() -> list[bytes]:
    """Photos of drawn people, small and large, and every tenth broken."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), persons=1, eval_persons=1, seed=0, workers=1)
        files = sorted(Path(folder).glob("*/images/**/*.jpg"))
        small = [file.read_bytes() for file in files]
    # 12 megapixels, as phones make them, and one pixel wide: what resizing has to survive.
    large = [cv2.resize(decode_image(data), (3000, 4000)) for data in small[:3]]
    odd = [*large, np.zeros((1440, 1, 3), np.uint8)]
    return [*small, *(cv2.imencode(".jpg", each)[1].tobytes() for each in odd), small[0][:2000]]


def wait_for(address: str) -> None:
    """Until the page answers."""
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


if __name__ == "__main__":
    run_command(main)

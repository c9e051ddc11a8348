"""How long does the web page take for a photo, and does its memory stay flat?

    python -m benchmarks.app --resume saved/models/sample/demo/best_epoch.pth
    python -m benchmarks.app --resume … --photos 200 --in-browser

Times what the page does with a photo once the models are warm: decode, crop, answer, Grad-CAM and
pictures. With ``--in-browser`` the running page is driven by Chromium, one photo after the other,
and the server's memory is read; the time is then that from choosing a file to reading the answer.
"""

import argparse
import gc
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from app_parts.answers import answer, explain
from app_parts.checkpoints import load, named_checkpoints
from benchmarks.common import machine, sample_people
from utils.cli import run_command
from utils.errors import UserError

WARM_UP = 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-r", "--resume", required=True, metavar="CHECKPOINT")
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--in-browser", action="store_true")
    parser.add_argument("--at-once", type=int, default=1, help="uploaded together, in the browser")
    options = parser.parse_args()
    files = sorted((sample_people(6) / "eval" / "images").iterdir())
    photos = [files[number % len(files)] for number in range(options.photos + WARM_UP)]
    if options.in_browser:
        seconds, megabytes = in_browser(options.resume, photos, options.at_once)
    else:
        seconds, megabytes = in_this_process(options.resume, photos)
    late = sorted(seconds[WARM_UP // options.at_once :])
    print(machine(torch.device("cpu")))
    print(
        f"seconds a photo, warm, over {len(late)}: median {statistics.median(late):.3f},"
        f" 95th percentile {late[int(0.95 * len(late))]:.3f}, longest {late[-1]:.3f}"
    )
    print(
        f"memory after {WARM_UP} photos: {megabytes[WARM_UP // options.at_once - 1]:.0f} MB, half"
        f" way: {megabytes[len(megabytes) // 2]:.0f} MB, at the end: {megabytes[-1]:.0f} MB"
    )


def in_this_process(checkpoint: str, photos: list[Path]) -> tuple[list[float], list[float]]:
    """Seconds and memory (MB) after each photo, by what the page calls."""
    (chosen,) = named_checkpoints([checkpoint])
    model = load(chosen, "cpu").model

    def visit(photos: list[Path]) -> None:
        explain(model, answer([model], photos[0].read_bytes()))

    busy = time.process_time()
    measured = _timed(visit, photos, 1, "self")
    busy = (time.process_time() - busy) / len(photos)
    print(f"CPU seconds a photo, over all cores: {busy:.3f}")
    return measured


def in_browser(
    checkpoint: str, photos: list[Path], at_once: int
) -> tuple[list[float], list[float]]:
    """The same for the running page: photos are uploaded, read and put away."""
    from playwright.sync_api import expect, sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise UserError("no Chromium found; install one, or leave out --in-browser")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port),
         "--server.headless", "true", "--", "--resume", checkpoint],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page()
            _open(page, f"http://127.0.0.1:{port}")
            uploader = page.locator('[data-testid="stFileUploaderDropzoneInput"]')
            cards = page.locator(".mt-card")
            remove = page.locator('[data-testid="stFileChipDeleteBtn"] button')

            def visit(photos: list[Path]) -> None:
                uploader.set_input_files(photos)
                expect(cards).to_have_count(len(photos), timeout=60_000)

            def put_away() -> None:
                for left in range(at_once - 1, -1, -1):
                    remove.first.click()
                    expect(cards).to_have_count(left, timeout=60_000)

            return _timed(visit, photos, at_once, str(server.pid), put_away)
    finally:
        server.terminate()
        server.wait()


def _open(page, address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            page.goto(address)
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)
    page.wait_for_selector('[data-testid="stFileUploaderDropzoneInput"]', state="attached")


def _timed(
    visit: Callable[[list[Path]], None],
    photos: list[Path],
    at_once: int,
    process: str,
    between: Callable[[], object] = gc.collect,
) -> tuple[list[float], list[float]]:
    seconds, megabytes = [], []
    for first in range(0, len(photos) - at_once + 1, at_once):
        began = time.perf_counter()
        visit(photos[first : first + at_once])
        seconds.append((time.perf_counter() - began) / at_once)
        between()
        megabytes.append(_resident_megabytes(process))
    return seconds, megabytes


def _resident_megabytes(process: str) -> float:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


if __name__ == "__main__":
    run_command(main)

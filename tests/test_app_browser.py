"""The page in a real browser: upload, read, switch the language, download, paste."""

import base64
import csv
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from app_parts.words import TEXT
from base.task import load_task

FACES = load_task("faces")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-background-networking",
            "--disable-component-update", "--disable-sync")  # fmt: skip
INPUT = '[data-testid="stFileUploaderDropzoneInput"]'

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no Chromium found; install one (Debian: apt install chromium) to test the page",
)


@pytest.fixture(scope="module")
def address(trained, request, tmp_path_factory):
    """The page with the tiny model, as ``streamlit run app.py`` serves it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "streamlit", "run", request.config.rootpath / "app.py",
        "--server.port", str(port), "--server.headless", "true",
        "--", "--resume", trained.best, "--saved", trained.home / "saved",
    ]  # fmt: skip
    printed = tmp_path_factory.mktemp("page") / "printed.txt"
    with open(printed, "w") as output:
        server = subprocess.Popen(
            command, cwd=trained.home, env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{url}/_stcore/health").read()
                break
            except OSError:
                time.sleep(0.1)
        assert "External URL" not in printed.read_text()
        yield url
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, address):
    """``visit(width=…)``: a page of a visitor of its own."""
    contexts = []

    def _visit(width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(12_000)
        page.goto(address)
        page.wait_for_selector(INPUT, state="attached", timeout=60_000)  # the first loads torch
        return page

    yield _visit
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def photos(people):
    return sorted((people / "eval" / "images").iterdir())[:3]


@pytest.fixture(scope="module")
def said(trained, people, run):
    """Photo name → class, as test.py says."""
    result = run("test.py", "-r", trained.best, "--out", "submit/app.csv", cwd=trained.home)
    assert result.returncode == 0, result
    with open(trained.home / "submit" / "app.csv", newline="") as file:
        return {row["ImageID"]: int(row["ans"]) for row in csv.DictReader(file)}


def sentence(cls, language):
    return FACES.sentence(FACES.decode(cls), language)


def answers(page, number):
    expect(page.locator(".mt-answer")).to_have_count(number, timeout=12_000)
    return dict(zip(page.locator(".mt-file").all_inner_texts(),
                    page.locator(".mt-answer").all_inner_texts(), strict=True))  # fmt: skip


def test_only_this_machine_sees_the_page_and_nobody_its_metrics(address):
    port = int(address.rpartition(":")[2])
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    texts = [table.read_text() for table in tables if table.exists()]
    lines = [line.split() for text in texts for line in text.splitlines()]
    listening = [line[1] for line in lines if line[3] == "0A" and line[1].endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"] or not texts
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{address}/_stcore/metrics")


def test_a_batch_is_answered_as_by_test_py_in_both_languages_and_as_csv(
    visit, photos, said, tmp_path
):
    (tmp_path / "broken.jpg").write_bytes(photos[0].read_bytes()[:2000])
    Image.new("1", (12_000, 12_000)).save(tmp_path / "huge.png")
    page = visit(accept_downloads=True)

    page.set_input_files(
        INPUT, [photos[0], tmp_path / "broken.jpg", photos[1], tmp_path / "huge.png", photos[2]]
    )

    expected = {photo.name: said[photo.name] for photo in photos}
    assert answers(page, 3) == {name: sentence(cls, "en") for name, cls in expected.items()}
    problems = page.locator(".mt-problems li").all_inner_texts()
    assert [line.split()[0] for line in problems] == ["broken.jpg", "huge.png"]
    assert "144 megapixels are too many" in problems[1]
    assert page.locator(".mt-why img").count() == 9

    page.get_by_text("한국어").click()
    expect(page.locator(".mt-answer").first).to_have_text(sentence(expected[photos[0].name], "ko"))
    expect(page.locator("h1")).to_have_text("마스크, 성별, 나이")
    page.get_by_text("English").click()
    expect(page.locator("h1")).to_have_text("Mask, gender, age")

    with page.expect_download() as download:
        page.get_by_text(TEXT["en"]["csv"]).click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert {row["ImageID"]: int(row["ans"]) for row in rows} == expected


def test_one_photo_shows_bars_that_sum_to_a_whole_and_what_the_model_looked_at(visit, photos):
    page = visit()
    page.set_input_files(INPUT, photos[0])
    answers(page, 1)
    bars = page.locator(".mt-bars ul")
    assert bars.count() == 3
    for texts in (bars.nth(place).inner_text() for place in range(3)):
        shares = [float(share) for share in re.findall(r"([\d.]+)%", texts)]
        assert abs(sum(shares) - 100) <= 2
    assert re.search(r"\d%$", page.locator(".mt-sure").inner_text())
    assert page.locator(".mt-why img").count() == 3


def test_a_photo_can_be_pasted(visit, photos):
    page = visit()
    page.evaluate(
        """async (data) => {
            const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
            const clipboard = new DataTransfer();
            clipboard.items.add(new File([bytes], "image.png", { type: "image/png" }));
            document.body.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData: clipboard, bubbles: true }));
        }""",
        base64.b64encode(photos[0].read_bytes()).decode(),
    )
    (name,) = answers(page, 1)
    assert re.fullmatch(r"pasted-\d\d-\d\d-\d\d-1\.png", name)


def test_visitors_see_their_own_photos_only(visit, photos):
    first, second = visit(), visit()
    first.set_input_files(INPUT, photos[0])
    second.set_input_files(INPUT, photos[1])
    assert list(answers(first, 1)) == [photos[0].name]
    assert list(answers(second, 1)) == [photos[1].name]


def test_a_phone_needs_no_scrolling_sideways(visit, photos):
    page = visit(width=390)
    page.set_input_files(INPUT, photos[0])
    answers(page, 1)
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
    assert wide <= 390
    assert page.locator(".mt-card").bounding_box()["width"] <= 390

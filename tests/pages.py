"""A report, as a reader without a browser sees it."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

from tests.processes import forked

ROOT = Path(__file__).resolve().parents[1]


class Page(HTMLParser):
    """The text of a page, its headings, and what it refers to."""

    def __init__(self, file):
        super().__init__()
        self.texts, self.headings, self.sources, self.tags, self._open = [], [], [], [], []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self._open:
            self.texts.append(data)
            if self._open and self._open[-1] in ("h1", "h2", "h3"):
                self.headings.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


def command(*arguments, cwd):
    """``python -m tools.report …``"""
    report = ["-m", "tools.report", *map(str, arguments)]
    return forked(report, cwd, {**os.environ, "PYTHONPATH": str(ROOT)})

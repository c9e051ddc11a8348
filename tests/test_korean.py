"""The Korean pages say what the English ones say: the same sections, commands, keys and links."""

import os
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PAGES = {"README.ko.md": "README.md"} | {
    f"docs/ko/{page.name}": f"docs/{page.name}" for page in (PROJECT / "docs/ko").glob("*.md")
}


def headings(page):
    return re.findall(r"(?m)^#+(?= )", _without_code(text_of(page)))


def commands(page):
    """Lines of code without what is said of them."""
    blocks = re.findall(r"(?s)```\w*\n(.*?)```", text_of(page))
    lines = [re.split(r" {2,}(?:[#(]|//)|   ImageID", line)[0].strip() for line in _lines(blocks)]
    return [line for line in lines if line]


def keys(page):
    return {" ".join(key.split()) for key in re.findall(r"`([^`]+)`", _without_code(text_of(page)))}


def first_cells(page):
    """Of tables, what code stands in each row's first cell; in the order of the rows."""
    return re.findall(r"(?m)^\| (`.+?`) \|", _without_code(text_of(page)))


def links(page):
    """From the top of the project; of pages in two languages the English one."""
    found = re.findall(r"\]\(([^)]+)\)", text_of(page))
    here = [link if "://" in link else _from_top(page, link) for link in found]
    return {PAGES.get(link, link) for link in here} - {PAGES.get(page, page)}


def numbers(page):
    """Figures with a point, which are measured ones."""
    return sorted(re.findall(r"\d+\.\d+", _without_code(text_of(page))))


@pytest.mark.parametrize("part", [headings, commands, keys, first_cells, links, numbers])
@pytest.mark.parametrize("korean", PAGES)
def test_both_say_the_same(korean, part):
    assert part(korean) == part(PAGES[korean])


@pytest.mark.parametrize("korean", PAGES)
def test_each_names_the_other_and_leads_only_to_what_is_there(korean):
    for page, other in ((korean, PAGES[korean]), (PAGES[korean], korean)):
        found = re.findall(r"\]\(([^)#\s]+)", text_of(page))
        places = [_from_top(page, link) for link in found if "://" not in link]
        assert other in places
        assert not [place for place in places if not (PROJECT / place).exists()], page


def test_there_are_the_pages_that_a_user_needs_most():
    assert {f"docs/ko/{name}.md" for name in ("config", "errors", "new_task", "report")} < {*PAGES}


def text_of(page):
    return (PROJECT / page).read_text(encoding="utf-8")


def _from_top(page, link):
    place = os.path.normpath(os.path.join(os.path.dirname(page), link.partition("#")[0] or page))
    return place.replace(os.sep, "/")


def _without_code(text):
    return re.sub(r"(?s)```.*?```", "", text)


def _lines(blocks):
    return [line for block in blocks for line in block.splitlines()]

import pytest
from jinja2 import UndefinedError

from utils.pages import render, typeset


def test_what_is_filled_in_is_text_and_what_is_misspelled_an_error(tmp_path):
    (tmp_path / "inner.html").write_text("<b>{{ name }}</b>")
    template = tmp_path / "page.html"
    template.write_text('{% include "inner.html" %} {{ written[:2] }}')
    assert render(template, name="<i>'") == "<b>&lt;i&gt;&#39;</b> 20"
    with pytest.raises(UndefinedError):
        render(template)


def test_names_of_classes_are_shown_with_dashes_and_signs():
    assert [*map(typeset, ["<30", "30-59", ">=60", "60세 이상", "30~59세"])] == [
        "<30", "30–59", "≥60", "60세 이상", "30~59세",
    ]  # fmt: skip
    assert typeset("no-mask, 2020-21, -5, 1e-05") == "no-mask, 2020–21, -5, 1e-05"

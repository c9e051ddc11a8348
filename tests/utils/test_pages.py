import pytest
from jinja2 import UndefinedError

from utils.pages import render


def test_what_is_filled_in_is_text_and_what_is_misspelled_an_error(tmp_path):
    (tmp_path / "inner.html").write_text("<b>{{ name }}</b>")
    template = tmp_path / "page.html"
    template.write_text('{% include "inner.html" %} {{ written[:2] }}')
    assert render(template, name="<i>'") == "<b>&lt;i&gt;&#39;</b> 20"
    with pytest.raises(UndefinedError):
        render(template)

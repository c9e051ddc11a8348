"""A few cases of every subject of `make fuzz`."""

import pytest

from tests.fuzz.frame import fuzz, subjects

SUBJECTS = subjects()


@pytest.mark.parametrize("name", SUBJECTS)
def test_wrong_input_is_answered_or_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subject = SUBJECTS[name]
    *_, counts = fuzz(subject, range(subject.SLICE), tmp_path)
    assert counts.is_sound, "\n".join(counts.faults.values())
    assert counts.tried == subject.SLICE
    assert bool(counts.refused) != getattr(subject, "ALL_RIGHT", False), counts

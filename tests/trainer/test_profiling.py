"""A profile of the first steps."""

import torch

from trainer.profiling import profiled


def test_the_batches_pass_unchanged_and_the_steps_after_the_first_are_recorded(tmp_path):
    batches = [{"index": torch.tensor([number])} for number in range(4)]
    seen = []
    for batch in profiled(batches, 2, tmp_path / "profile", torch.device("cpu")):
        with torch.profiler.record_function("forward"):
            torch.ones(8) @ torch.ones(8)
        seen.append(int(batch["index"]))
    assert seen == [0, 1, 2, 3]
    text = (tmp_path / "profile" / "profile.txt").read_text()
    assert text.startswith("2 steps on cpu") and "forward" in text
    assert (tmp_path / "profile" / "trace.json").stat().st_size


def test_an_epoch_shorter_than_the_profile_has_one_of_what_there_was(tmp_path):
    list(profiled([{}, {}], 5, tmp_path, torch.device("cpu")))
    assert (tmp_path / "profile.txt").read_text().startswith("1 steps on cpu")

"""The forward pass of every answer."""

import pytest
import torch

from base.inference import infer

PHOTOS = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).to(torch.uint8)


def test_no_gradient_is_kept_and_the_values_are_the_models():
    weight = torch.ones((), requires_grad=True)
    given = infer(lambda x: x.float() * weight, PHOTOS, None, torch.contiguous_format)
    assert torch.equal(given, PHOTOS.float()) and not given.requires_grad


@pytest.mark.parametrize("amp", [None, torch.bfloat16])
def test_it_computes_in_the_precision_and_memory_format_that_are_asked_for(amp):
    seen = {}

    def model(images):
        seen["channels last"] = images.is_contiguous(memory_format=torch.channels_last)
        return torch.nn.functional.conv2d(images.float(), torch.ones(1, 3, 1, 1))

    assert infer(model, PHOTOS, amp, torch.channels_last).dtype == (amp or torch.float32)
    assert seen["channels last"]

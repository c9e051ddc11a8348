import pytest
import torch

from base.image_size import resize
from base.settings import GrowingPhotos


def sides(epochs, full=128, **settings):
    growing = GrowingPhotos(**settings)
    return [growing.side(epoch, epochs, full) for epoch in range(1, epochs + 1)]


def test_photos_grow_from_the_first_scale_to_full_size():
    assert sides(6, multiple=16) == [64, 80, 96, 112, 128, 128]
    assert sides(10, full=224) == [128, 160, 160, 192, 192, 224, 224, 224, 224, 224]


def test_the_last_epochs_have_the_full_side_even_where_it_is_no_multiple():
    assert sides(4, full=100, first_scale=0.5, full_from=0.5) == [64, 96, 100, 100]
    assert sides(3, first_scale=1.0) == sides(3, full_from=0.0) == [128, 128, 128]


def test_a_side_depends_on_the_epoch_alone_and_never_exceeds_the_full_one():
    assert max(sides(7, full=40)) == 40


def test_resizing_averages_instead_of_picking_pixels():
    board = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    board[..., ::2] = 200
    small = resize(board, 4)
    assert small.shape == (1, 3, 4, 4)
    assert small[..., 1:-1].mean().item() == pytest.approx(100, abs=5)
    assert resize(board, 8) is board

import torch

from trainer.tta import describe, scale, shift, views_from

PHOTOS = torch.randint(0, 256, (2, 3, 20, 20), dtype=torch.uint8)


def test_without_a_section_a_photo_is_seen_once_and_unchanged():
    (view,) = views_from(None)
    assert torch.equal(view(PHOTOS), PHOTOS)


def test_the_number_of_views_is_one_and_four_a_shift_and_one_a_scale_doubled_by_the_flip():
    section = {"flip": False, "shifts": [0.05, 0.1], "scales": [0.9]}
    assert len(views_from(section)) == 1 + 2 * 4 + 1
    assert len(views_from(section | {"flip": True})) == 2 * 10


def test_every_view_keeps_the_shape_and_the_range():
    for view in views_from({"flip": True, "shifts": [0.1], "scales": [0.8, 1.25]}):
        seen = view(PHOTOS)
        assert seen.shape == PHOTOS.shape
        assert seen.min() >= 0 and seen.max() <= 255


def test_a_flip_is_the_mirror_image():
    _, mirrored = views_from({"flip": True, "shifts": [], "scales": []})
    assert torch.equal(mirrored(PHOTOS), PHOTOS.flip(-1))


def test_a_shift_moves_the_photo_and_repeats_its_border():
    moved = shift(PHOTOS, (0, 0.1))
    assert torch.equal(moved[..., 2:], PHOTOS[..., :-2])
    assert torch.equal(moved[..., 0], PHOTOS[..., 0])
    assert torch.equal(shift(PHOTOS, (-0.1, 0))[:, :, :-2], PHOTOS[:, :, 2:])


def test_a_scale_shows_the_middle_larger_or_smaller():
    photo = torch.zeros(1, 1, 20, 20)
    photo[..., 8:12, 8:12] = 255
    assert scale(photo, 2.0).sum() > 3 * photo.sum()
    assert scale(photo, 0.5).sum() < photo.sum() / 3


def test_forward_passes_are_counted():
    assert (
        describe([6, 6], 100)
        == "100 photos × 6 views × 2 models = 1200 forward passes of one photo"
    )
    assert "= 700 forward passes" in describe([6, 1], 100)

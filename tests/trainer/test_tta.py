import torch

from trainer.tta import describe, views_from

PHOTOS = torch.randint(0, 256, (2, 3, 20, 20), dtype=torch.uint8)


def test_without_a_section_or_a_flip_a_photo_is_seen_once_and_unchanged():
    for section in (None, {"flip": False}):
        (view,) = views_from(section)
        assert torch.equal(view(PHOTOS), PHOTOS)


def test_a_flip_adds_the_mirror_image():
    plain, mirrored = views_from({"flip": True})
    assert torch.equal(plain(PHOTOS), PHOTOS)
    assert torch.equal(mirrored(PHOTOS), PHOTOS.flip(-1))


def test_forward_passes_are_counted():
    assert (
        describe([2, 2], 100) == "100 photos × 2 views × 2 models = 400 forward passes of one photo"
    )
    assert "= 300 forward passes" in describe([2, 1], 100)

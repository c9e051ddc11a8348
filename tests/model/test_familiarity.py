import pytest
import torch

from model.familiarity import Familiarity


def draw(number, seed, dims=64):
    """Features that vary along 8 of the directions, and little beside them."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(dims, dims, generator=torch.Generator().manual_seed(0)))[0]
    scale = torch.full((dims,), 0.05)
    scale[:8] = torch.arange(8, 0, -1.0)
    return 3 + (torch.randn(number, dims, generator=generator) * scale) @ basis.T


@pytest.fixture
def known():
    return Familiarity.fit(draw(300, 1), draw(200, 2))


def test_features_of_the_kind_it_was_fitted_on_are_familiar(known):
    assert known.strange(draw(1000, 3)).float().mean() < 0.01


def test_what_lies_beside_the_directions_or_far_along_them_is_strange(known):
    photos = draw(100, 3)
    beside = torch.randn(64, generator=torch.Generator().manual_seed(5))
    assert known.strange(photos + beside).all()
    assert known.strange(photos + 12 * known.directions[0] * known.variances[0].sqrt()).all()
    assert known.strange(torch.zeros(1, 64)).all()


def test_the_distance_of_fitted_features_is_about_one(known):
    assert known.distance(draw(300, 1)).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("number", [2, 5, 40])
def test_few_photos_or_features_that_are_all_alike_break_nothing(number):
    alike = torch.ones(number, 16)
    assert not Familiarity.fit(alike, alike).strange(alike).any()
    few = draw(number, 1, dims=16)
    assert torch.isfinite(Familiarity.fit(few, draw(3, 2, dims=16)).distance(few)).all()


def test_it_is_the_same_after_a_checkpoint(known, tmp_path):
    torch.save(known.to_state(), tmp_path / "known.pth")
    again = Familiarity(**torch.load(tmp_path / "known.pth", weights_only=True))
    assert torch.equal(again.distance(draw(9, 4)), known.distance(draw(9, 4)))
    assert again.limit == known.limit

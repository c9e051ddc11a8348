"""What several tests of crops start from."""

import pytest

from tests.cropping import write_photo


@pytest.fixture
def photos(tmp_path):
    """Twelve small photos, each of another color."""
    folder = tmp_path / "photos"
    folder.mkdir()
    return [write_photo(folder / f"{number:02}.png", number) for number in range(12)]

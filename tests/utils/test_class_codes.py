import numpy as np
import pytest
import torch

from utils.class_codes import require_codes
from utils.errors import DataError


@pytest.mark.parametrize("codes", [np.array([0, 2, -1, 7]), torch.tensor([0, 2, -1, 7])])
def test_the_first_code_that_is_none_is_named_with_its_position(codes):
    require_codes(codes[:2], range(3), "mask")
    with pytest.raises(DataError, match="mask: label -1 at position 2 is none of 0 to 2"):
        require_codes(codes, range(3), "mask")

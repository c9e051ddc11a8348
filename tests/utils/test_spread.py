import numpy as np

from utils.spread import spread


def test_a_few_lie_evenly_over_all_and_fewer_are_all():
    assert spread(np.arange(100), 4).tolist() == [0, 25, 50, 75]
    assert spread(np.arange(3), 10).tolist() == [0, 1, 2]
    assert spread(np.arange(0), 10).tolist() == []

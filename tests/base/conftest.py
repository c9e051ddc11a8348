"""What stands in for GPUs; here, so that pytest's first process needs no torch."""

from tests.cuda_stand_in import graphs_on_the_cpu, two_gpus  # noqa: F401, fixtures

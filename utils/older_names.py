"""Names that configs of the original use for the faces, so that they go on working.

What they stand for is said once here; no other room of the framework knows what a task asks.
"""

AGE = "age"
"""The head that ``labels`` and ``arch.args.age_head`` are about."""
MASK = "mask"
"""The head that ``mixing.same_mask`` is about."""
BIASED = (AGE, "gender", MASK)
"""Heads whose biases may stand in ``decoding`` itself."""

"""Training and predicting with a multi-head model."""

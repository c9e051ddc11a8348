"""What is trained and how it is evaluated: networks, their decoding, losses and metrics."""

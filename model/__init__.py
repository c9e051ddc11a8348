"""What is trained and how it is judged: networks, their decoding, losses and metrics."""

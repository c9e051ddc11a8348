"""Whole sessions: a training, a prediction, folds, a search, an export, a server."""

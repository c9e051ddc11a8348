"""Small things that every part of the project uses."""

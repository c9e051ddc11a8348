"""One command per question; each measures both sides in turns, in one run, and prints a ratio."""

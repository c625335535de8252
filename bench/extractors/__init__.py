"""Feature extractors of the bench alone."""

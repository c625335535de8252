"""The network that notices covered mouths, what it learns from and its training."""

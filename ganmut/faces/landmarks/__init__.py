"""The five-point network, its training windows and its training."""

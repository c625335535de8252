"""The five-point network: where it looks, how it is trained."""

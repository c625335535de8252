"""How editors are trained: the loop, its state, its settings."""

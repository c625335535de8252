"""Training of editors: settings, loop, trainer, losses and run directories."""

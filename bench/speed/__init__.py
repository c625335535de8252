"""Speed: the library's training loop and editor timed against the published loop."""

"""Face detectors: one file is one detector."""

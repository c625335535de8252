"""Face detectors: ONE FILE = ONE DETECTOR."""

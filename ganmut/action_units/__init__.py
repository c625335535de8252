"""Action units of images: estimators (ONE FILE = ONE PROVIDER) and metadata files with units."""

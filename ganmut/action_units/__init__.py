"""Action units of photographs: estimators (ONE FILE = ONE PROVIDER), and files that list them."""

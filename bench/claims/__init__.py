"""What the papers say of each other, as data, and its test on measured scores."""

"""The benchmark of expression editors. `python bench/run.py --methods all` is the entry point."""

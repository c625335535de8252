"""The bench: what an expression editor can do, measured. `python bench/run.py --methods all` is the
way in.
"""

"""What pyproject.toml cannot say: folders beside the package that travel inside of it.

`weights/` as `ganmut.bundled`; which weights travel is in pyproject.toml. `bench/` as
`ganmut.bench`: its name alone is that of other distributions too (frappe-bench).
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["ganmut", "ganmut.*"]),
        "ganmut.bundled",
        "ganmut.bench",
        *(f"ganmut.bench.{name}" for name in find_packages("bench")),
    ],
    package_dir={"ganmut.bundled": "weights", "ganmut.bench": "bench"},
)

"""What pyproject.toml cannot say: default weights travel inside the package, as `ganmut.bundled`.

Their folder is `weights/`, outside of the package. Which of them travel is in pyproject.toml.
"""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ganmut", "ganmut.*"]), "ganmut.bundled"],
    package_dir={"ganmut.bundled": "weights"},
)

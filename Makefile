# The commands to remember. Each works after `make setup`.
PYTHON ?= .venv/bin/python
# -n auto: one process a core; worksteal moves tests from a busy process to an idle one.
PYTEST = OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist worksteal

.PHONY: setup check lint types test slow attack bench demo docs browser train speed

setup:            ## a virtual environment with everything that is needed
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet -r requirements-dev.txt

check: lint types test   ## what the gate runs after the set-up

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:            ## all modules but those listed in pyproject.toml
	$(PYTHON) -m mypy

test:
	$(PYTEST)

slow:             ## the tests that take minutes
	$(PYTEST) -m slow

attack:           ## hostile pictures, tampered files and kills; not part of the gate
	$(PYTHON) tests/attack

bench:            ## the leaderboard from the bundled weights
	$(PYTHON) bench/run.py --methods all

demo:
	$(PYTHON) app.py

docs:             ## the site from docs/ and docstrings, in site/; its tools in a folder of their own
	test -x .venv-docs/bin/mkdocs || (python3 -m venv .venv-docs && .venv-docs/bin/python -m pip install --quiet -r requirements-docs.txt)
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build

browser:          ## what the tests in a real browser need, then those tests (Debian, as root)
	which chromium || which google-chrome || apt-get install -y --no-install-recommends chromium
	$(PYTHON) -m pip install --quiet playwright==1.65.2
	npm install --silent --no-save --prefix out/npm onnxruntime-web@1.30.0
	$(PYTHON) -m pytest tests/test_browser.py tests/test_browser_page.py

train:            ## GANmut on rendered faces, on a laptop
	$(PYTHON) -m ganmut train ganmut

speed:
	$(PYTHON) bench/speed/run.py

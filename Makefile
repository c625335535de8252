# The only commands to remember. Each works after `make setup`.
PYTHON ?= .venv/bin/python

.PHONY: setup check test slow bench demo browser train speed

setup:            ## a virtual environment with everything that is needed
	python3 -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet -r requirements.txt

check:            ## what the continuous integration runs after the set-up
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pytest

test:
	$(PYTHON) -m pytest

slow:             ## the tests that take minutes
	$(PYTHON) -m pytest -m slow

bench:            ## the leaderboard from the bundled weights
	$(PYTHON) bench/run.py --methods all

demo:
	$(PYTHON) app.py

browser:          ## what the tests in a real browser need, then those tests (Debian, as root)
	which chromium || which google-chrome || apt-get install -y --no-install-recommends chromium
	$(PYTHON) -m pip install --quiet playwright==1.65.2
	$(PYTHON) -m pytest tests/test_browser.py

train:            ## GANmut on rendered faces, on a laptop
	$(PYTHON) -m ganmut train ganmut --recipe cpu

speed:
	$(PYTHON) bench/speed.py

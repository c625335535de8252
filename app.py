"""The Space, and `python app.py` on a laptop: builds the page and serves it with its limits."""

from demo.app import LAUNCH, build
from demo.limits import restart

demo = build(on_stuck=restart)

if __name__ == "__main__":
    demo.launch(**LAUNCH)

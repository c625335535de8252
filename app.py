"""The Space, and `python app.py` on a laptop: builds the page and serves it with its limits."""

from demo.ui import LAUNCH, build

demo = build()

if __name__ == "__main__":
    demo.launch(**LAUNCH)

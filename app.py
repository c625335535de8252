"""The Space, and `python app.py` on a laptop: builds the page and serves it with its limits."""

import contextlib
import signal
import sys

from demo.waiting import waiting_page

# A program that serves this file answers from its first second on; an import serves nothing.
with waiting_page() if __name__ == "__main__" else contextlib.nullcontext():
    from demo.app import LAUNCH, build
    from demo.limits import restart

    demo = build(on_stuck=restart)

if __name__ == "__main__":
    # A stop is a regular end: files of visits are deleted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    demo.launch(**LAUNCH)

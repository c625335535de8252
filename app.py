"""The Space, and `python app.py` on a laptop: builds the page and serves it with its limits.

GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where; demo/startup/environment.py lists what else is
read.
"""

import argparse

from demo.startup import environment
from demo.startup.quick_import import without_stubs
from demo.startup.waiting import waiting_page
from ganmut import interrupts
from ganmut.text import Parser


def main() -> None:
    """Serves the page until it is stopped. Raises ValueError for a variable that cannot be used."""
    style = argparse.RawDescriptionHelpFormatter
    parser = Parser(description=__doc__, formatter_class=style)
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="offer the endpoints as tools of the Model Context Protocol, too",
    )
    args = parser.parse_args()
    # The program answers from its first second on, and imports what takes seconds after that.
    where = environment.prepare()
    mcp = environment.wants_mcp(args.mcp)
    with waiting_page(*where):
        with without_stubs():
            import gradio  # noqa: F401 # imported here first, so that nothing below does without

        from demo.app import LAUNCH, build, with_mcp
        from demo.security.limits import restart

        page = build(on_stuck=restart)
        launch = with_mcp(page) if mcp else LAUNCH
    page.launch(**launch)  # a stop is a regular end: files of visits are deleted


if __name__ == "__main__":
    interrupts.run(main)

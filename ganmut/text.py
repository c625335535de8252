"""Words in messages: numbers with their nouns, and values of the user's, at a bounded length."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

QUOTED = 80  # characters of a value in a message
WORD = 260  # of a word that stands there without quotation marks; names of files have up to 255
SENTENCE = 2000
_LONG_WORD = re.compile(rf"\S{{{WORD + 1},}}")
# argparse quotes with %r, and says "invalid int value: '...'" or "invalid choice: '...' (".
_LONG_QUOTE = re.compile(rf"(?<=: )(['\"]).{{{QUOTED - 1},}}\1(?= \(|$)")


def quantity(n: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 face", "1,200 faces". plural: where it is not the noun and s."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def shorten(text: str, most: int = QUOTED) -> str:
    """The text, or its beginning and end where it has more than `most` characters."""
    tail = most // 4
    return text if len(text) <= most else f"{text[: most - tail - 1]}…{text[-tail:]}"


def quote(value: Any, most: int = QUOTED) -> str:
    """A value as Python writes it, a text in quotation marks; at most `most` characters of it."""
    if isinstance(value, str) and len(value) > 2 * most:
        value = value[:most] + value[-most:]  # what is left out anyway is not worth the escapes
    try:
        return shorten(repr(value), most)
    except ValueError:  # Python writes no whole numbers of more than 4,300 digits
        return "a number of thousands of digits"


def sentence(text: str, most: int = SENTENCE) -> str:
    """A message in one line, with bounded words and at most `most` characters, whatever it
    repeats."""
    line = " ".join(text.split())
    line = _LONG_WORD.sub(lambda word: shorten(word[0], WORD), line)
    return line[:most] + "…" * (len(line) > most)


class Parser(argparse.ArgumentParser):
    """A parser of a command line whose errors are one sentence, with long values shortened."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with the message, where its options are described and status 2."""
        what, _, words = message.partition("unrecognized arguments: ")
        if words and not what:
            message = f"unrecognized arguments: {shorten(words)}"
        said = sentence(_LONG_QUOTE.sub(lambda value: shorten(value[0]), message))
        # Without argparse's usage: dozens of options hide what is wrong.
        self.exit(2, f"error: {said} (see {self.prog} --help)\n")

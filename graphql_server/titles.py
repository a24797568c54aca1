"""What a dataset may be called."""

import re
import unicodedata

from graphql_server.errors import BadUserInput

UNTRAINED = "untrained"
LONGEST = 100
LONGEST_KEY = 300  # as the column has it; a single character can stand for 18
# What Unicode 16 calls default ignorable beside the category Cf, and the empty pattern of Braille.
UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)


def key_of(title: str) -> str:
    """Two titles are the same when their keys are.

    Case, width, the ways of writing an accent, and characters that are not seen do not count.
    """
    seen = "".join(c for c in title if unicodedata.category(c) != "Cf" and not UNSEEN.match(c))
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold()).strip()[:LONGEST_KEY]


def checked(title: str) -> str:
    """The trimmed title; BadUserInput where it is empty, too long, unprintable or the open dataset's."""
    title = unicodedata.normalize("NFC", title.strip())
    if len(title) > LONGEST:
        raise BadUserInput(f"A title has {LONGEST} characters at most; this one has {len(title)}.")
    key = key_of(title)
    if not key:
        raise BadUserInput("A title needs a character that can be seen.")
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in title):
        raise BadUserInput("A title has no control characters.")
    if key == UNTRAINED:
        raise BadUserInput(f"'{UNTRAINED}' is the open dataset; choose another title.")
    return title

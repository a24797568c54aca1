"""What a dataset may be called."""

import unicodedata

from graphql_server.errors import BadUserInput

UNTRAINED = "untrained"
LONGEST = 100


def key_of(title: str) -> str:
    """Two titles are the same when their keys are.

    Case, the ways of writing an accent, and characters that are not seen do not count.
    """
    title = "".join(character for character in title if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", title.strip()).casefold())


def checked(title: str) -> str:
    """The trimmed title; BadUserInput where it is empty, too long, unprintable or the open dataset's."""
    title = unicodedata.normalize("NFC", title.strip())
    if not key_of(title) or len(title) > LONGEST:
        raise BadUserInput(f"A title has 1 to {LONGEST} characters; this one has {len(title)}.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in title):
        raise BadUserInput("A title has no control characters and no halves of characters.")
    if key_of(title) == UNTRAINED:
        raise BadUserInput(f"'{UNTRAINED}' is the open dataset; choose another title.")
    return title

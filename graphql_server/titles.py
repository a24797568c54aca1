"""What a dataset may be called."""

import unicodedata

from graphql_server.errors import BadUserInput

UNTRAINED = "untrained"
LONGEST = 100


def key_of(title: str) -> str:
    """Two titles are the same when their keys are: case and the ways of writing an accent do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", title.strip()).casefold())


def checked(title: str) -> str:
    """The trimmed title; BadUserInput where it is empty, too long, unprintable or the open dataset's."""
    title = unicodedata.normalize("NFC", title.strip())
    if not 1 <= len(title) <= LONGEST:
        raise BadUserInput(f"A title has 1 to {LONGEST} characters; this one has {len(title)}.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in title):
        raise BadUserInput("A title has no control characters and no halves of characters.")
    if key_of(title) == UNTRAINED:
        raise BadUserInput(f"'{UNTRAINED}' is the open dataset; choose another title.")
    return title

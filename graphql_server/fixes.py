"""A reviewer's fix, as it is sent."""

import math
from dataclasses import astuple, dataclass, replace
from enum import Enum

from graphql_server.errors import BadUserInput
from graphql_server.idempotency import Once

LONGEST_NAME = 255


class OnDuplicate(Enum):
    """What to do with a photo that the untrained dataset has already, byte for byte."""

    RETURN_EXISTING = "RETURN_EXISTING"
    REJECT = "REJECT"
    ALLOW = "ALLOW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A reviewer's answer; degrees are counter-clockwise, confidence is from 0 to 1.

    Without an `exif_degree` the one is taken that the file asks for. `user_pk` is who saves it, where that is known.
    """

    original_file_name: str
    exif_degree: int | None
    model_degree: int
    confidence: float
    user_fix_degree: int
    on_duplicate: OnDuplicate = OnDuplicate.RETURN_EXISTING
    idempotency_key: str | None = None
    user_pk: int | None = None

    def check(self) -> None:
        """Raise BadUserInput where a value cannot be."""
        if len(self.original_file_name) > LONGEST_NAME:
            raise BadUserInput(f"A file name has at most {LONGEST_NAME} characters.")
        if not (math.isfinite(self.confidence) and 0 <= self.confidence <= 1):
            raise BadUserInput("A confidence is from 0 to 1.")

    def once(self, sha256: str) -> Once | None:
        """The fix's idempotency key, if it has one, with a fingerprint of all that was sent."""
        if self.idempotency_key is None:
            return None
        sent = replace(self, idempotency_key=None)
        return Once.of(self.idempotency_key, self.user_pk, "saveFix", sha256, *(str(part) for part in astuple(sent)))

"""What lists of images are narrowed by, as conditions for the database."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from graphql_server.errors import BadUserInput
from graphql_server.listings import Condition, among, matching


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilter:
    """What a list of images is narrowed by; None asks for nothing. `created_before` is exclusive."""

    exif_degree: Sequence[int] | None = None
    model_degree: Sequence[int] | None = None
    user_fix_degree: Sequence[int] | None = None
    model_was_wrong: bool | None = None
    confidence_from: float | None = None
    confidence_to: float | None = None
    original_file_name: str | None = None
    original_file_name_contains: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None

    def conditions(self) -> tuple[Condition, ...]:
        compared: dict[str, object] = {
            "confidence >= ?": _finite(self.confidence_from),
            "confidence <= ?": _finite(self.confidence_to),
            "created_at >= ?": self.created_from,
            "created_at < ?": self.created_before,
        }
        found = [Condition(sql, (value,)) for sql, value in compared.items() if value is not None]
        for column in ("exif_degree", "model_degree", "user_fix_degree"):
            degrees: Sequence[int] | None = getattr(self, column)
            if degrees is not None:
                found.append(among(column, sorted(set(degrees))))
        found += matching("original_file_name", self.original_file_name, self.original_file_name_contains)
        if self.model_was_wrong is not None:
            found.append(Condition("model_was_wrong = ?", (self.model_was_wrong,), pins="model_was_wrong"))
        elif self.user_fix_degree is not None and {0, 360}.isdisjoint(self.user_fix_degree):
            # It follows, and leads to the few of a large dataset that were wrong.
            found.append(Condition("model_was_wrong = 1", pins="model_was_wrong"))
        return tuple(found)


def _finite(confidence: float | None) -> float | None:
    # 1e999 is a Float to GraphQL, and infinity to Python.
    if confidence is not None and not math.isfinite(confidence):
        raise BadUserInput("A confidence is a finite number.")
    return confidence

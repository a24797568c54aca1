"""Everything that can go wrong and is said to somebody.

::

    DatasetServerError
    ├── SettingsError                 the operator: one line, exit status 2
    ├── DatabaseUnfit                 the operator, whom the log tells what to do: INTERNAL_SERVER_ERROR
    ├── Refused                       the client asked for what cannot be
    │   ├── Unauthenticated           UNAUTHENTICATED
    │   ├── BadUserInput              BAD_USER_INPUT
    │   │   ├── FileTooLarge          FILE_TOO_LARGE
    │   │   └── ImageUnreadable       IMAGE_UNREADABLE
    │   ├── NotFound                  NOT_FOUND
    │   ├── Conflict                  CONFLICT
    │   ├── QueryTooComplex           QUERY_TOO_COMPLEX
    │   ├── CursorExpired             CURSOR_EXPIRED
    │   ├── TooSlow                   TOO_SLOW
    │   ├── NotPersisted
    │   │   ├── PersistedQueryNotFound        PERSISTED_QUERY_NOT_FOUND
    │   │   ├── PersistedQueryNotSupported    PERSISTED_QUERY_NOT_SUPPORTED
    │   │   └── PersistedQueryOnly            PERSISTED_QUERY_ONLY
    │   └── BadRequest                BAD_REQUEST and others: not GraphQL over HTTP
    └── Unavailable                   something that the server needs is away; try again
        ├── UserServerUnavailable     USER_SERVER_UNAVAILABLE
        ├── DatabaseUnavailable       DATABASE_UNAVAILABLE
        ├── StorageUnavailable        STORAGE_UNAVAILABLE
        │   └── StorageStalled
        ├── OperationTimedOut         OPERATION_TIMED_OUT
        ├── TooManySubscriptions      TOO_MANY_SUBSCRIPTIONS
        └── ServerStopping            SERVER_STOPPING

The message of each is written for whoever reads it: it names no path, no SQL and no secret.
"""


def error_body(message: str, code: str) -> dict[str, list[dict[str, object]]]:
    """What an answer holds that tells of one error outside GraphQL, in the shape of those inside it."""
    return {"errors": [{"message": message, "extensions": {"code": code}}]}


class DatasetServerError(Exception):
    """The root of the family; `code` is what clients find in `extensions.code`."""

    code: str = "INTERNAL_SERVER_ERROR"

    @property
    def extensions(self) -> dict[str, object]:
        """What graphql-core puts into the error's `extensions`."""
        return {"code": self.code}


class SettingsError(DatasetServerError):
    """A setting is missing or wrong, or what it points to cannot be used."""


class DatabaseUnfit(DatasetServerError):
    """The database's user lacks a privilege, a table a column, or the like; the log says what is to be done."""


class Refused(DatasetServerError):
    """The request cannot be granted, now or later."""


class Unauthenticated(Refused):
    code = "UNAUTHENTICATED"


class BadUserInput(Refused):
    code = "BAD_USER_INPUT"


class FileTooLarge(BadUserInput):
    code = "FILE_TOO_LARGE"


class ImageUnreadable(BadUserInput):
    code = "IMAGE_UNREADABLE"


class NotFound(Refused):
    code = "NOT_FOUND"


class Conflict(Refused):
    code = "CONFLICT"


class QueryTooComplex(Refused):
    code = "QUERY_TOO_COMPLEX"


class CursorExpired(Refused):
    code = "CURSOR_EXPIRED"


class TooSlow(Refused):
    code = "TOO_SLOW"


class NotPersisted(Refused):
    """The document cannot be found, or is none of those that may be run."""


class PersistedQueryNotFound(NotPersisted):
    """Where queries are persisted automatically, the client is to send the document along with its hash."""

    code = "PERSISTED_QUERY_NOT_FOUND"


class PersistedQueryNotSupported(NotPersisted):
    """No client can have a document persisted, because the operator has said which may be run."""

    code = "PERSISTED_QUERY_NOT_SUPPORTED"


class PersistedQueryOnly(NotPersisted):
    """The document is none of those that may be run."""

    code = "PERSISTED_QUERY_ONLY"


class BadRequest(Refused):
    """What came is no GraphQL request; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int = 400, code: str = "BAD_REQUEST") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Unavailable(DatasetServerError):
    """The same request may succeed later."""


class UserServerUnavailable(Unavailable):
    code = "USER_SERVER_UNAVAILABLE"


class DatabaseUnavailable(Unavailable):
    code = "DATABASE_UNAVAILABLE"


class StorageUnavailable(Unavailable):
    code = "STORAGE_UNAVAILABLE"


class StorageStalled(StorageUnavailable):
    """The folder of pictures does not answer; what was begun there may still be done, and is then undone."""


class OperationTimedOut(Unavailable):
    code = "OPERATION_TIMED_OUT"


class TooManySubscriptions(Unavailable):
    code = "TOO_MANY_SUBSCRIPTIONS"


class ServerStopping(Unavailable):
    code = "SERVER_STOPPING"

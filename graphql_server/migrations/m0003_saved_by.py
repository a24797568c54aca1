"""Who saved an image: the user server's key, NULL for what was saved before."""

from graphql_server.engines import Session

PRESENT = (
    "SELECT 1 FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = 'image_info' AND column_name = 'user_pk'"
)


async def apply(session: Session, engine: str) -> None:
    if engine == "sqlite" or not await session.fetch(PRESENT):
        await session.fetch("ALTER TABLE image_info ADD COLUMN user_pk INTEGER NULL")

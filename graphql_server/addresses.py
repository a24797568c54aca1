"""The addresses under which clients find pictures: signed here, and verified."""

import base64
import hashlib
import hmac
import re
import time
from typing import Literal

EXPIRES = re.compile(r"[0-9]{1,12}")


class Addresses:
    """Addresses below `url`; the first of the keys signs, and what any of them has signed is good."""

    def __init__(self, url: str, keys: tuple[str, ...], seconds: int) -> None:
        self._url, self._seconds = url, seconds
        # Keyed once: a copy costs a fraction of a new HMAC, and one page of images signs a thousand.
        self._macs = [hmac.new(key.encode(), digestmod=hashlib.sha256) for key in keys]

    def address(self, dataset_pk: int, file_name: str, now: float | None = None) -> str:
        """Sign an address that is valid for `seconds` at least and for twice that at most."""
        # In steps, so that a picture keeps its address for a while and browsers need not fetch it again.
        periods = int(time.time() if now is None else now) // self._seconds
        path, expires = f"{dataset_pk}/{file_name}", str((periods + 2) * self._seconds)
        return f"{self._url}/{path}?expires={expires}&signature={_sign(self._macs[0], path, expires)}"

    def check(
        self, dataset_pk: int | str, file_name: str, expires: str, signature: str, now: float | None = None
    ) -> Literal["good", "expired", "bad"]:
        """Verify what an address says of itself; junk of any kind is "bad"."""
        if not EXPIRES.fullmatch(expires):
            return "bad"
        path, sent = f"{dataset_pk}/{file_name}", signature.encode(errors="replace")
        for mac in self._macs:
            if hmac.compare_digest(_sign(mac, path, expires).encode(), sent):
                return "good" if (time.time() if now is None else now) < int(expires) else "expired"
        return "bad"


def _sign(keyed: hmac.HMAC, path: str, expires: str) -> str:
    mac = keyed.copy()
    mac.update(f"{path}\n{expires}".encode(errors="replace"))
    return base64.urlsafe_b64encode(mac.digest()).rstrip(b"=").decode()

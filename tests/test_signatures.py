"""Signed addresses of pictures."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest

from graphql_server.media import Media
from tests.media import KEYS


@dataclass
class Signed:
    """The parts of an address."""

    dataset_pk: str
    file_name: str
    expires: str
    signature: str

    @classmethod
    def parse(cls, address: str) -> "Signed":
        parts = urlsplit(address)
        _, dataset_pk, file_name = parts.path.lstrip("/").split("/")
        query = httpx.QueryParams(parts.query)
        return cls(dataset_pk, file_name, query["expires"], query["signature"])


def verdict(media: Media, signed: Signed, now: float | None = None) -> str:
    return media.check(signed.dataset_pk, signed.file_name, signed.expires, signed.signature, now)


NAME = "6f3c1e0a-93a1-4f0e-8a67-0f2f5d3b9c11.jpg"


def test_an_address_is_valid_for_its_time_at_least_and_for_twice_that_at_most(media: Media) -> None:
    for now in (0, 1, 3599, 3600, 3601, 1_795_000_000, 1_795_000_000.9):
        signed = Signed.parse(media.address(7, NAME, now))
        assert 3600 < int(signed.expires) - now <= 7200 or int(signed.expires) - int(now) == 7200
        assert verdict(media, signed, now) == "good"
        assert verdict(media, signed, now + 3600) == "good"
        assert verdict(media, signed, now + 7201) == "expired"


def test_a_picture_keeps_its_address_for_a_while(media: Media) -> None:
    addresses = {media.address(7, NAME, 3600 * 500_000 + second) for second in range(3600)}
    assert len(addresses) == 1


def test_the_signature_is_that_of_the_published_scheme(media: Media) -> None:
    # printf '7/NAME\n1795006800' | openssl dgst -sha256 -hmac KEY -binary | basenc --base64url
    signed = Signed.parse(media.address(7, NAME, 1_795_000_000))
    assert signed.expires == "1795006800"
    assert signed.signature == "AspKhwubKIbx-j3g-q13ZNROIrUm6jTHAjloqzQOfvw"


@pytest.mark.parametrize("part", ["dataset_pk", "file_name", "expires", "signature"])
def test_an_address_with_one_part_changed_is_bad(media: Media, part: str) -> None:
    other = Signed.parse(media.address(8, NAME.replace("6", "7"), 1_700_000_000))
    for value in (getattr(other, part), "", "x" * 5000, "\ud800", "\uff10", "\x00", "1e9", "-1", "7/.."):
        signed = Signed.parse(media.address(7, NAME))
        setattr(signed, part, value)
        assert verdict(media, signed) == "bad"


def test_an_address_whose_expiry_is_written_otherwise_is_bad(media: Media) -> None:
    signed = Signed.parse(media.address(7, NAME))
    signed.expires = f"0{signed.expires}"
    assert verdict(media, signed) == "bad"


def test_an_expired_address_with_a_wrong_signature_does_not_say_that_it_was_once_good(media: Media) -> None:
    signed = Signed.parse(media.address(7, NAME, 1000))
    assert verdict(media, signed) == "expired"
    signed.signature = signed.signature[:-1]
    assert verdict(media, signed) == "bad"


def test_the_first_key_signs_and_all_keys_verify(media: Media) -> None:
    old, new = (Media(media.root, "/media", keys, 3600) for keys in (KEYS[1:], KEYS[:1]))
    by_old, by_both, by_new = (Signed.parse(each.address(7, NAME)) for each in (old, media, new))
    assert by_both == by_new != by_old
    assert verdict(media, by_old) == verdict(media, by_new) == "good"
    assert verdict(new, by_old) == verdict(old, by_new) == "bad"

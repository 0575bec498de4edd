"""The cluster's certificate authority, and what it vouches for."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chassis.tls import Identity
from dctl.secrets.authority import identity, new_authority


@pytest.fixture(scope="module")
def authority() -> str:
    return new_authority("shop")


def own(text: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Identity.of(text.encode()).certificate)


def test_an_identity_made_again_is_the_same(authority: str) -> None:
    assert identity(authority, "cart", ["b", "a"]) == identity(authority, "cart", ["a", "b", "a"])


def test_each_service_and_each_cluster_has_keys_of_its_own(authority: str) -> None:
    several = [
        identity(authority, "cart"),
        identity(authority, "orders"),
        identity(authority, "cart", ["10.0.0.1"]),
        identity(new_authority("shop"), "cart"),
    ]
    assert len({Identity.of(text.encode()).key for text in several}) == 4


def test_an_identity_is_vouched_for_by_the_authority_and_vouches_for_nobody(authority: str) -> None:
    made = own(identity(authority, "cart"))
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.encode()))
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not made.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_its_key_is_the_one_that_is_certified(authority: str) -> None:
    text = identity(authority, "cart")
    key = serialization.load_pem_private_key(Identity.of(text.encode()).key, password=None)
    assert key.public_key() == own(text).public_key()


def test_a_certificate_is_for_the_service_and_the_places_where_it_is_called(authority: str) -> None:
    made = own(identity(authority, "nats", ["nats-1", "10.0.0.1", "::1"]))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"nats.draft", "nats-1"}
    addresses = {ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("::1")}
    assert set(names.get_values_for_type(x509.IPAddress)) == addresses


def test_they_are_good_for_years_also_where_a_clock_is_slow(authority: str) -> None:
    made = own(identity(authority, "cart"))
    now = datetime.now(UTC)
    assert made.not_valid_before_utc < now - timedelta(hours=12)
    assert made.not_valid_after_utc > now + timedelta(days=3600)


def test_the_key_of_the_authority_is_in_no_identity(authority: str) -> None:
    key = authority.partition("-----BEGIN CERTIFICATE")[0]
    assert key.strip() not in identity(authority, "cart")


def test_a_long_name_of_a_cluster_does_not_hinder() -> None:
    identity(new_authority("c" * 63), "s" * 63)

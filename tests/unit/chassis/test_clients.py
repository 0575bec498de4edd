"""One parser for addresses, used by services and by dctl."""

import pytest

from chassis.clients import Address, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:2221", Address("127.0.0.1", 2221)),
        ("http://blueprint:2221", Address("blueprint", 2221)),
        (" http://blueprint:2221/ ", Address("blueprint", 2221)),
        ("[::1]:80", Address("::1", 80)),
        ("http://[::1]:80", Address("::1", 80)),
        ("local:0", Address("local", 0)),
    ],
)
def test_both_spellings_are_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "blueprint", ":80", "a:", "a:b", "a:65536", "a:-1", "a:²", "::1:80"),
        *("https://a:1", "http://a:1/path", "grpc://a:1", "a/b:1"),
    ],
)
def test_what_is_no_address_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="is no address: write host:port") as refused:
        parse_address(text)
    assert f'"{text}"' in str(refused.value)


@pytest.mark.parametrize("text", ["a:1", "[::1]:80"])
def test_an_address_reads_back_what_it_prints(text: str) -> None:
    address = parse_address(text)
    assert str(address) == text
    assert parse_address(address.url) == address

"""The redactor: no form of a secret gets through, and little else is hidden."""

import base64
import json
import random
import shlex
import string
import sys
from urllib.parse import quote, quote_plus, urlencode

import pytest

from dctl.__main__ import run
from dctl.render.output import Format, emit, emit_list
from dctl.secrets.redaction import HIDDEN, Redactor, guarded, learn, unguarded

PEARL = 'p3arl+/ "of" the\\sea?'
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nAgEAAoIBAQC7Vt9xyz12\n-----END KEY-----"


def knowing(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.learn(value)
    return redactor


@pytest.mark.parametrize(
    "text",
    [
        PEARL,
        json.dumps({"a": PEARL}),
        repr({"a": PEARL}),
        shlex.quote(PEARL),
        f"http://a/?b={quote(PEARL)}",
        f"http://a/?b={quote(PEARL, safe='')}",
        f"http://a/?{urlencode({'b': PEARL})}",
        quote_plus(PEARL),
        base64.b64encode(PEARL.encode()).decode(),
        base64.urlsafe_b64encode(PEARL.encode()).decode(),
        PEARL.encode().hex(),
    ],
    ids=lambda text: text[:24],
)
def test_a_secret_is_hidden_in_the_form_in_which_it_is_written(text: str) -> None:
    told = knowing(PEARL).text(f"before {text} after")
    assert HIDDEN in told
    assert text not in told
    assert told.startswith("before ")
    assert told.endswith(" after")


@pytest.mark.parametrize("user", ["", "a", "ab", "abc", "shop:", "somebody@there:"])
def test_base64_of_more_than_the_secret_hides_it_wherever_it_begins(user: str) -> None:
    header = base64.b64encode(f"{user}{PEARL}{user}".encode()).decode()
    told = knowing(PEARL).text(f"authorization: Basic {header}")
    left = told.replace(HIDDEN, "=" * 4)
    assert HIDDEN in told
    assert len(told) < len(f"authorization: Basic {header}")
    assert "p3arl" not in base64.b64decode(left.split()[-1] + "===").decode(errors="replace")


def test_random_secrets_are_hidden_in_random_text_in_every_form() -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    for _ in range(200):
        length = dice.randint(8, 40)
        secret = "".join(dice.choices(string.printable.strip() + " äß€", k=length)).strip()
        if len(secret) < 8:
            continue
        around = "".join(dice.choices(string.ascii_letters, k=dice.randint(0, 9)))
        redactor = knowing(secret)
        for form in (secret, json.dumps(secret), quote(secret), repr(secret)):
            told = redactor.text(f"{around} {form} {around}")
            assert form.strip("\"'") not in told, f"seed {seed}: {form!r}"


def test_each_line_of_a_long_secret_is_hidden_as_a_log_prints_it() -> None:
    told = knowing(KEY).text("\n".join(f"cart-1 | {line}" for line in KEY.splitlines()))
    assert "MIIEvQ" not in told
    assert "AgEAAo" not in told
    assert "-----BEGIN KEY-----" in told


def test_of_two_secrets_the_one_within_the_other_does_not_uncover_it() -> None:
    assert knowing("pearl", "pearl-of-the-sea").text("x pearl-of-the-sea y") == f"x {HIDDEN} y"


def test_a_very_short_secret_is_hidden_as_a_whole_value_and_spoils_no_text() -> None:
    redactor = knowing("ab", "7")
    assert redactor.text("about 7 cabs") == "about 7 cabs"
    document = {"a": "ab", "b": ["about", "7", 7, True], "c": 17}
    assert redactor.document(document) == {
        "a": HIDDEN,
        "b": ["about", HIDDEN, HIDDEN, True],
        "c": 17,
    }


def test_a_document_is_looked_through_keys_and_numbers_included() -> None:
    told = knowing("pearl", "123456").document({"x": {"pearl": [1, "a pearl"]}, "n": 123456})
    assert told == {"x": {HIDDEN: [1, f"a {HIDDEN}"]}, "n": HIDDEN}


def test_nothing_is_hidden_while_nothing_is_known() -> None:
    document = {"a": "b"}
    assert Redactor().document(document) is document
    assert Redactor().text("anything") == "anything"


def test_both_streams_are_looked_through_by_whatever_way_they_are_written_to(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    with guarded():
        learn("pearl")
        print("a pearl", file=sys.stderr)
        sys.stdout.writelines(["two ", "pearl\n"])
        sys.stdout.flush()
        sys.stdout.buffer.write(b"three pearl \xff\n")
        unguarded(sys.stdout).write("meant\n")
        sys.stdout.flush()
    print("pearl again")
    sys.stdout.flush()
    out, err = capfdbinary.readouterr()
    assert err == f"a {HIDDEN}\n".encode()
    assert out == f"two {HIDDEN}\nthree {HIDDEN} ".encode() + b"\xff\nmeant\npearl again\n"


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_bug_tells_no_secret_even_with_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    def buggy(*_: object, **__: object) -> None:
        learn("pearl-in-a-bug")
        raise RuntimeError("cannot use pearl-in-a-bug")

    monkeypatch.setenv("DCTL_DEBUG", debug)
    monkeypatch.setattr("dctl.cli.root.main", buggy)
    assert run([]) == 1
    out, err = capsys.readouterr()
    assert "RuntimeError: cannot use (hidden)" in err
    assert ("Traceback" in err) is bool(debug)
    assert "in-a-bug" not in out + err


@pytest.mark.parametrize("format", ["yaml", "json", "ndjson"])
def test_a_document_that_breaks_lines_breaks_no_secret_in_two(
    capsys: pytest.CaptureFixture[str], format: Format
) -> None:
    secret = " ".join(f"pearl{number}" for number in range(40))
    with guarded():
        learn(secret)
        emit("Test", {"a": [f"it is {secret}"]}, format=format)
        emit_list("Test", [{"a": secret}], columns={"a": "a"}, format=format)
    out = capsys.readouterr().out
    assert "pearl" not in out
    assert out.count("(hidden)") == 2

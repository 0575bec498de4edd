"""Settings: a file, the environment over it, typed and strict."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from chassis.config import Config, Nothing, load
from chassis.errors import ChassisError, ConfigError


class Limits(BaseModel):
    model_config = ConfigDict(extra="forbid")

    per_minute: int = 60


class Shop(BaseModel):
    greeting: str = "hello"
    password: int = 0  # a number, so that a text is wrong
    hosts: list[str] = Field(default_factory=list)
    limits: Limits = Limits()
    burst: Limits | None = None
    note: str | None = None


class Demanding(BaseModel):
    url: str


def read(
    text: str = "",
    *,
    tmp_path: Path,
    model: type[BaseModel] = Shop,
    env: Mapping[str, str] | None = None,
) -> Config[Any]:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return load(model, file, env=env or {}, name="shop")


def refusal(text: str = "", **more: Any) -> list[str]:
    """The lines of what is wrong."""
    with pytest.raises(ConfigError) as refused:
        read(text, **more)
    return str(refused.value).splitlines()


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    config = read("# nothing yet\n", tmp_path=tmp_path)
    assert (config.name, config.settings) == ("shop", Shop())


def test_no_file_is_needed() -> None:
    assert load(Shop, None, env={}, name="shop").settings == Shop()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    text = "service: {name: file, group: g}\ngreeting: moin\nlimits: {per_minute: 1}"
    env = {"DRAFT_SERVICE_NAME": "told", "DRAFT_GREETING": "hi", "DRAFT_LIMITS_PER_MINUTE": "7"}
    config = read(text, tmp_path=tmp_path, env=env)
    assert (config.name, config.platform.service.group) == ("told", "g")
    assert (config.settings.greeting, config.settings.limits.per_minute) == ("hi", 7)


def test_the_environment_names_the_file_whatever_the_code_says(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("greeting: other")
    config = read("greeting: code", tmp_path=tmp_path, env={"DRAFT_CONFIG": str(other)})
    assert config.settings.greeting == "other"


def test_a_mapping_is_all_there_is() -> None:
    env = {"DRAFT_GREETING": "hi", "DRAFT_CONFIG": "/nowhere", "DRAFT_INSTANCE": "shop-1"}
    config = load(Shop, {"greeting": "test"}, env=env, name="shop")
    assert (config.settings.greeting, config.instance) == ("test", "")


@pytest.mark.parametrize(
    ("variable", "value", "key", "wanted"),
    [
        ("DRAFT_HOSTS", "[a, b]", "hosts", ["a", "b"]),
        ("DRAFT_HOSTS", '["a"]', "hosts", ["a"]),
        ("DRAFT_BURST", "{per_minute: 3}", "burst", Limits(per_minute=3)),
        ("DRAFT_BURST_PER_MINUTE", "3", "burst", Limits(per_minute=3)),
        ("DRAFT_NOTE", "{a: 1}", "note", "{a: 1}"),
        ("DRAFT_GREETING", "", "greeting", ""),
    ],
)
def test_a_variable_becomes_what_the_setting_is(
    variable: str, value: str, key: str, wanted: object, tmp_path: Path
) -> None:
    assert getattr(read(tmp_path=tmp_path, env={variable: value}).settings, key) == wanted


def test_a_variable_may_name_the_file_of_a_value_as_secrets_are_delivered(tmp_path: Path) -> None:
    for name, text in (("note", "pearl\n"), ("limit", "7\n")):
        (tmp_path / name).write_text(text)
    env = {
        "DRAFT_NOTE_FILE": str(tmp_path / "note"),
        "DRAFT_LIMITS_PER_MINUTE_FILE": str(tmp_path / "limit"),
    }
    settings = read("note: mine", tmp_path=tmp_path, env=env).settings
    assert (settings.note, settings.limits.per_minute) == ("pearl", 7)
    told = read(tmp_path=tmp_path, env={**env, "DRAFT_NOTE": "set"}).settings
    assert told.note == "set"


def test_a_file_of_a_value_that_cannot_be_read_is_told_by_its_variable(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff")
    gone, binary = str(tmp_path / "gone"), str(tmp_path / "binary")
    env = {"DRAFT_NOTE_FILE": gone, "DRAFT_GREETING_FILE": binary}
    assert refusal(tmp_path=tmp_path, env=env) == [
        f"DRAFT_GREETING_FILE: {binary} is not text",
        f"DRAFT_NOTE_FILE: {gone} cannot be read: No such file or directory",
    ]


def test_labels_can_be_set_by_a_variable(tmp_path: Path) -> None:
    env = {"DRAFT_SERVICE_METADATA": "{zone: a, rack: '2'}"}
    config = read(tmp_path=tmp_path, env=env)
    assert config.platform.service.metadata == {"zone": "a", "rack": "2"}


def test_all_problems_are_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    text = "service: {nam: x}\nlimits: {per_minut: 3}\ngretting: 1\ndraft: {beat: -1}"
    lines = refusal(text, tmp_path=tmp_path, env={"DRAFT_PASSWORD": "x"})
    file = tmp_path / "config.yaml"
    assert lines == [
        f'{file}: service.nam: unknown key "nam"; did you mean "name"?',
        f"{file}: draft.beat: Input should be greater than 0",
        f'{file}: limits.per_minut: unknown key "per_minut"; did you mean "per_minute"?',
        f'{file}: gretting: unknown key "gretting"; did you mean "greeting"?',
        "DRAFT_PASSWORD: password: Input should be a valid integer, unable to parse string as an "
        "integer",
    ]


def test_a_key_of_ours_that_is_mistyped_at_the_top_is_guessed(tmp_path: Path) -> None:
    [line] = refusal("servcie: {name: x}", tmp_path=tmp_path, model=Nothing)
    assert line.endswith('servcie: unknown key "servcie"; did you mean "service"?')


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("DRAFT_SERVICE_NETWORK_BIND_PROT", "DRAFT_SERVICE_NETWORK_BIND_PORT"),
        ("DRAFT_DRAFT_BEET", "DRAFT_DRAFT_BEAT"),
        ("DRAFT_LIMITS_PER_MINUT", "DRAFT_LIMITS_PER_MINUTE"),
    ],
)
def test_a_variable_of_a_section_of_ours_that_sets_nothing_is_refused(
    mistyped: str, meant: str, tmp_path: Path
) -> None:
    [line] = refusal(tmp_path=tmp_path, env={mistyped: "1"})
    assert line == f'{mistyped}: sets no known key; did you mean "{meant}"?'


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    env = {"DRAFT_CATALYST_NATS": "x", "DRAFT_PORT_GRPC": "7000", "DRAFT_INSTANCE": "shop-1"}
    assert read(tmp_path=tmp_path, env=env).instance == "shop-1"


def test_what_is_missing_names_the_variable_that_sets_it(tmp_path: Path) -> None:
    [line] = refusal(tmp_path=tmp_path, model=Demanding)
    assert line.endswith("config.yaml: url: is missing: set it there, or as DRAFT_URL")


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("password: swordfish", {}),
        ("password: 'swordfish", {}),
        ("greeting: a\ngreeting: swordfish", {}),
        ("a: {b: swordfish", {}),
        ("swordfish", {}),
        ("limits: swordfish", {}),
        ("draft: {log: {level: swordfish}}", {}),
        ("", {"DRAFT_PASSWORD": "swordfish"}),
        ("", {"DRAFT_HOSTS": "[swordfish"}),
        ("", {"DRAFT_BURST": "swordfish"}),
    ],
)
def test_no_value_is_ever_told(text: str, env: dict[str, str], tmp_path: Path) -> None:
    assert "swordfish" not in "\n".join(refusal(text, tmp_path=tmp_path, env=env))


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("greeting: a\ngreeting: b", ":2:1", "this key stands here twice"),
        ("a: [1\nb: 2", ":2:2", "is not YAML"),
        ("- a", "", "must be a mapping"),
        ("a: 2020-99-99", "", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_place(
    text: str, place: str, words: str, tmp_path: Path
) -> None:
    [line] = refusal(text, tmp_path=tmp_path)
    assert line.startswith(f"{tmp_path / 'config.yaml'}{place}: {words}")


def test_a_file_that_is_named_and_not_there_is_refused(tmp_path: Path) -> None:
    [line] = refusal(tmp_path=tmp_path, env={"DRAFT_CONFIG": str(tmp_path / "none.yaml")})
    assert line == f"{tmp_path / 'none.yaml'}: cannot be read: No such file or directory"


def test_a_nonce_that_cannot_be_read_is_refused_at_the_start(tmp_path: Path) -> None:
    [line] = refusal(tmp_path=tmp_path, env={"DRAFT_NONCE_FILE": str(tmp_path)})
    assert line == f"DRAFT_NONCE_FILE: {tmp_path} cannot be read: Is a directory"


def test_a_nonce_may_be_changed_in_place(tmp_path: Path) -> None:
    secret = tmp_path / "nonce"
    secret.write_text("one\n")
    config = read(tmp_path=tmp_path, env={"DRAFT_NONCE_FILE": str(secret)})
    assert config.nonce() == "one"
    secret.write_text("two\n")
    assert config.nonce() == "two"


def test_an_entrypoint_may_be_an_url(tmp_path: Path) -> None:
    config = read("service: {entrypoint: 'http://blueprint:2221'}", tmp_path=tmp_path)
    assert config.platform.service.entrypoint == "blueprint:2221"


@pytest.mark.parametrize("field", ["service", "draft", "config", "instance", "nonce_file"])
def test_a_model_cannot_take_a_name_of_ours(field: str) -> None:
    model = type("Mine", (BaseModel,), {"__annotations__": {field: str}, field: ""})
    with pytest.raises(ChassisError, match=f'Mine: "{field}" is the chassis'):
        load(model, None, env={}, name="shop")


def test_a_model_may_say_itself_that_it_takes_any_key(tmp_path: Path) -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    config = read("anything: 1", tmp_path=tmp_path, model=Open)
    assert config.settings.model_extra == {"anything": 1}


def test_a_program_with_a_wrong_configuration_says_so_and_ends_with_3(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from chassis import Chassis\nChassis().run()\n")
    (tmp_path / "config.yaml").write_text("service: {nmae: x}\ndraft: {beat: often}\n")
    ended = subprocess.run(
        [sys.executable, tmp_path / "main.py"], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (3, "")
    first, second = ended.stderr.splitlines()
    assert first.startswith("error: ")
    assert 'service.nmae: unknown key "nmae"; did you mean "name"?' in first
    assert "draft.beat: Input should be a valid number" in second

"""The log on the screen."""

from dctl.hosts.fake import FakeHost
from dctl.secrets.redaction import guarded
from dctl.tui.screens.logs import _lines


def test_what_an_instance_was_given_is_hidden_in_what_it_prints() -> None:
    host = FakeHost("shop")
    host.delivered["a-1"] = {"db": "says"}
    with guarded():
        assert next(_lines(host, "a-1")) == "a-1 (hidden) 0"

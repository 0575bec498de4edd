"""What Catalyst refuses or cannot do. `rpc.py` maps each class to its gRPC status, once."""

# ruff: noqa: N818  (states of affairs, named for what a caller does about them)

from chassis.errors import ChassisError


class CatalystError(ChassisError):
    """The root. The message says what, where and what next; it is shown to the caller as it is."""


class InvalidArgument(CatalystError):
    """An event or a request breaks the rules; the message names the attribute or the field."""


class EventTooLarge(CatalystError):
    """An event is over the limit."""


class LogFull(CatalystError):
    """The stream has reached its limit and takes no more until events expire (back-pressure)."""


class StoresNothing(LogFull):
    """The engine answers and stores nothing of anybody: its disk is full, or fails."""


class DataLoss(CatalystError):
    """Events that were acknowledged cannot be read; the message says where to go on."""


class OutOfRange(CatalystError):
    """A position lies outside of what the log keeps."""


class Unavailable(CatalystError):
    """The engine cannot be reached, or this Catalyst is going down; trying again is right."""


class Unimplemented(CatalystError):
    """Part of the contract, not served yet."""

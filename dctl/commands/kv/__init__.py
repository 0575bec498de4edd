"""dctl kv: keys and values in Blueprint.

group.py     the group, and what its commands share
entries.py   set, get, delete, list
changes.py   watch, history
transfer.py  export, import
edit.py      edit
"""

from dctl.commands.kv import changes, edit, entries, transfer
from dctl.commands.kv.group import group

__all__ = ["changes", "edit", "entries", "group", "transfer"]

"""dctl infra: plan, apply and watch over a cluster.

group.py    the group, and what its commands share
plan.py     plan
apply.py    apply, also of a saved plan and with --watch (signals.py: until it is told to end)
look.py     status, wait, logs
history.py  history, rollback, lock
operate.py  start, stop, restart, exec, down, destroy, clean
"""

from dctl.commands.infra import apply, history, look, operate, plan
from dctl.commands.infra.group import group

__all__ = ["apply", "group", "history", "look", "operate", "plan"]

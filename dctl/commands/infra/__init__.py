"""dctl infra: plan, apply and watch over a cluster.

group.py    the group, and what its commands share
plan.py     plan, apply
look.py     status, wait, logs
operate.py  start, stop, restart, down, destroy, clean
"""

from dctl.commands.infra import look, operate, plan
from dctl.commands.infra.group import group

__all__ = ["group", "look", "operate", "plan"]

"""From a spec to a cluster that is as the spec says.

catalogue/   the parts that dctl knows how to run: core parts, and a user's service
desired.py   spec -> resources, in a fixed order; pure but for the ports it asks for
verdict.py   the one compare function: what is asked against what is there
plan.py      all verdicts of a cluster as an ordered value; pure
apply.py     carry a plan out: dependencies, health gates, journal, events
status.py    what runs where, and how it feels; pure
cluster.py   opens a spec: the hosts it lives on, their readers, the addresses of its core parts
"""

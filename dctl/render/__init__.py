"""Values to text and JSON. Nothing here decides or fetches anything.

output.py   one way to print data: table, json, yaml, ndjson
plan.py     a plan: what will happen to what, and why
progress.py an apply while it happens
history.py  what was done to a cluster, and who has its lock
watch.py    what a watch heals
times.py    durations and ages as people say them
"""

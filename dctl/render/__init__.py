"""Values to text and JSON. Nothing here decides or fetches anything.

output.py   one way to print data: table, json, yaml, ndjson
times.py    durations and ages as people say them
"""

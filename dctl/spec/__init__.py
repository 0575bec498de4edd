"""The cluster spec: one YAML file to one typed value, or every problem with its position.

units.py     durations and sizes          scalars.py   scalars that remember their writing
types.py     typed scalars                workload.py, core.py, model.py   the typed spec
"""

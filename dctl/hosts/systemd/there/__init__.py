"""Parts of the agent: sent with it as text, so they need Python 3.9's standard library only.

files.py   files, written whole or not at all
ports.py   what the machine listens on, and how that feels
lock.py    the lock of a cluster
"""

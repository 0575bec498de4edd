"""Secrets: where they come from, what may be told of them, and how they stay out of all output.

references.py  secret://name in a spec: who uses which
sources.py     a declaration to its value: file, environment variable, command, store
store.py       the workspace's encrypted store;  age.py  its cipher and the user's key
vault.py       the secrets of one spec: had when they are needed, told apart by keyed digests
redaction.py   the one redactor: what is known to be secret leaves dctl in no form

How they are delivered is each host's business (`dctl.hosts.base.Secrets` is what it asks).
"""

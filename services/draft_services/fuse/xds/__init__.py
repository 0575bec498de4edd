"""Delta xDS over one aggregated stream per proxy.

messages.py     Envoy's message classes, in a descriptor pool of their own
resources.py    resources and snapshots, as values
session.py      the conversation with one proxy, without any I/O
fleet.py        the connected proxies: the stream handler, and waiting for what they say
regenerate.py   makes descriptors.binpb.xz anew
"""

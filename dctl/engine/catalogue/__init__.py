"""The parts that dctl knows how to run, each as a function from its spec to resources.

site.py      what a part may know of the cluster around it, and how a process is put together
core.py      NATS, Blueprint, Catalyst, Fuse, Envoy, and the routes that expose them
service.py   a user's own service
"""

"""Fuse: the control plane of the ingress.

    routes.py        what a route is, and the checks that a Route message has to pass
    descriptors.py   which descriptors let a route be called with JSON
    translate/       routes + endpoints -> xDS resources; pure
    xds/             the aggregated discovery service (delta): sessions with proxies
    publisher.py     admits changes of routes: pushes them, waits, takes back what a proxy refuses
    blueprint.py     the mirror of Blueprint's routes, descriptors and processes
    rpc.py           NetworkingService
    __main__.py      composes them

Routes live in Blueprint, so several Fuse nodes agree and a restart forgets nothing. A change goes
one way only: Blueprint -> mirror -> publisher -> proxies. AddRoute writes to Blueprint and then
waits for its own change to come out at the other end.
"""

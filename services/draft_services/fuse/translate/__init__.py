"""Routes and endpoints -> xDS resources. Pure: the same input makes the same bytes.

    clusters.py    an upstream -> its cluster and the endpoints in it
    matching.py    which virtual host a route belongs to, and the order inside it
    virtual_hosts.py    routes -> the route configuration
    filters.py     the chain of HTTP filters, and what a route changes in it
    listener.py    the listener
    security.py    TLS to the processes of a service

Only the route configuration knows how routes are grouped, so that it can be cut into scopes (one
per host) without touching the rest.
"""

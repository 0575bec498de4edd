"""Blueprint: the registry and the key/value store, the system of record of a cluster.

Everything that it answers comes from the engine's streams: any number of Blueprint processes may
run on one engine, be killed and come back, and all tell the same.

- ``settings``    what can be configured
- ``errors``      the domain's errors
- ``history``     the last changes in memory, and where a reader stands in them
- ``view``        the current entries of one store in memory, with their order and revision
- ``keyvalue``    keys and values: limits, pages, watching
- ``names``       many names in their order
- ``limits``      how much may be held
- ``process``     what the registry knows of a process, as a value, and filters over it
- ``tokens``      signed proofs of identity; the keys lie in a stream of their own
- ``liveness``    who has been silent for too long: pure decisions over a heap of deadlines
- ``nonce``       the cluster's secret, which a caller has to know
- ``registry``    the life cycle of processes
- ``figures``     what it tells Prometheus about itself
- ``leadership``  which node the key ``leader`` names
- ``backup``      all that the engine keeps, out of it and back
- ``rpc/``        translates protobuf and gRPC; nothing else sees them
- ``service``     opens and closes the parts in order
- ``__main__``    composes all of it on the chassis
"""

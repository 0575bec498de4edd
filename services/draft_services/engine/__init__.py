"""The thin layer over NATS JetStream that Blueprint and Catalyst share; only it imports nats-py.

- ``errors``      the engine's errors, and the one place where nats-py's become ours
- ``connection``  one connection: requests with words for failures, and who hears of a reconnect
- ``nodes``       what the leader of a stream says, and whether it leads still
- ``subjects``    any Unicode key to a NATS subject and back
- ``streams``     the streams that we keep, as values, and how they come into being
- ``feed``        every message of a stream once and in order, over gaps and reconnects
- ``store``       the ``Store`` protocol: what Blueprint needs of an engine
- ``jetstream``   its JetStream implementation
- ``batches``     several messages at once, all or none
- ``commit``      writes that come together go together
- ``storing``     whether what is written gets stored
- ``log``         append with deduplication, and read from a sequence or a time: Catalyst's events
- ``reader``      what a stream keeps, pulled chunk by chunk by whoever reads slowly or far back
- ``leases``      signs of life in a memory stream
- ``snapshots``   whole streams out of the engine and back: backups
- ``upload``      the way of such a stream into the engine
- ``survey``      whether every copy can be read, and one made anew from the others
- ``restoring``   the sign that a backup is being restored, for which readers wait
- ``cluster``     the engine's nodes and figures

nats-py's own key/value layer and ordered consumer are not used: the first sets neither TTL markers
nor atomic batches, the second loses messages silently when its queue overflows.
"""

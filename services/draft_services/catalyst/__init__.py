"""Catalyst, the event broker: producers in, one log in the engine, every consumer out.

- ``rpc``           Producer and Consumer on the wire; nothing else sees protobuf or gRPC
- ``broker``        one way into the log, one feed out of it, many consumers
- ``committer``     group commit of all producers, in one order, over outages
- ``window``        the newest events in memory, bounded, shared by all consumers
- ``subscription``  one consumer's cursor: the window, or the engine when it is behind
- ``template``      which events a consumer wants        ``events``  what is required of one
- ``journal``       the log in the engine, whose errors become ours there
- ``service``       the parts put together               ``settings``, ``errors``
"""

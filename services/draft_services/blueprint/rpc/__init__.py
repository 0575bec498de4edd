"""Protobuf and gRPC, translated to the domain and back; nothing outside of here sees them.

- ``status``    what gRPC status an error becomes
- ``ingress``   what a caller who came through the ingress is told about addresses
- ``keyvalue``  KeyValueService
- ``query``     the statements of KeyValueService.Query
- ``registry``  ServiceDiscoveryService
- ``raft``      RaftService
- ``backup``    BackupService
"""

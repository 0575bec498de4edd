"""What `new` and `init` write: a beginning that works, for a person to change.

workspace.py  draft.yaml and what stands beside it
proto.py      a proto with a service
service.py    a service's folder, for the proto of its name if there is one
spec.py       a service more in a cluster spec, all else in it as it was
"""

"""Where resources live: observe and run on one host.

base.py       the words that hosts and engine share: Resource, Observed, Check, and the two faces
              of a host: Reader (observe only: all that a planner gets) and Host (may change things)
process/      processes of this machine under supervisor
docker/       containers on a Docker engine
routes.py     routes at the ingress, through Fuse
state/        what both keep of a cluster in the user's state folder
checks.py     one probe of one health check
ports.py      ports of this machine: who holds one, which is free
order.py      what ends first
"""

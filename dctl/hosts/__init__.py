"""Where resources live: observe and run on one host.

base.py       the words that hosts and engine share: Resource, Observed, Check, and the two faces
              of a host: Reader (observe only: all that a planner gets) and Host (may change things)
process/      processes of this machine under supervisor
routes.py     routes at the ingress, through Fuse
checks.py     one probe of one health check
"""

# A service folder needs one to be a service; no case runs it.

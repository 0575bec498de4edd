# No case runs it.

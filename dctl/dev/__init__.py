"""`dctl run` and `dctl test`: services from their code, and clusters for a while.

choose.py   pure: which services are meant, and what has to be there for them
lend.py     the cluster's copy of a service steps aside, and comes back
debts.py    what has to be put back at the end, on the disk; whose run is still there
keeper.py   a process of its own that waits for the end of dctl, however that comes
settle.py   what it does then: all is put back
child.py    one service, run by us: started, drained, ended, its lines told
code.py     whether code compiles; which changes of files concern whom
run.py      all of it together
throwaway.py  a cluster of its own for tests
"""

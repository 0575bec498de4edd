"""What every runtime of this machine keeps of a cluster in the user's state folder.

folder.py    where it stands: names only
owner.py     look: whose cluster it is
keeping.py   change: claim it, its secrets, its lock (lock.py) and journal (journal.py)
marks.py     what dctl itself stopped
files.py     files written whole or not at all
"""

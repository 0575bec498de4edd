"""What is shipped: versions, and what they say of themselves.

versions.py   pure: semantic versions, and the tags that carry them, one row of them for each path
changelog.py  pure: the sections of a CHANGELOG.md
git.py        the git command: what is there, and the tags
"""

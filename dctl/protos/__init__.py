"""From .proto files to a generated, typed Python package; and buf's checks of the protos.

build.py    build and clean: the generated package, always as the protos want it
check.py    lint, format, breaking: what buf says
rename.py   pure: move the files of a descriptor set under a package's folder
stamp.py    digests that say "nothing has changed" without running a tool
tools.py    the one place that runs protoc and buf, and translates their errors
"""

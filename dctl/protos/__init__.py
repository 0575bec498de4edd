"""From .proto files to a generated, typed Python package; and buf's checks of the protos.

asked.py      what a build is asked for, as draft.yaml says it
build.py      build and clean: the generated package, always as the protos want it
languages.py  the protos in other languages, by buf and their plugins
framework.py  the framework's own protos, which a workspace's may import
reference.py  pure: a page of reference from the comments
check.py      lint, format, breaking, descriptor: what buf says
rename.py     pure: move the files of a descriptor set under a package's folder
stamp.py      digests that say "nothing has changed" without running a tool
tools.py      the one place that runs protoc and buf, and translates their errors
"""

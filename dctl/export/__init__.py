"""A cluster spec as files for others to run: a compose file, manifests of Kubernetes.

cluster.py     the spec as it can be exported: one place for all parts; what is left out, and why
site.py        the places that the catalogue's parts are built for
secrets.py     what looks like a secret stays a name; which of them somebody has to make
compose.py     the parts as services of docker compose
kubernetes.py  the parts as manifests
text.py        documents as YAML

Pure: a loaded spec and the names of images in, documents and notes out. What a part needs is said
in the engine's catalogue and nowhere else.
"""

"""A workspace's pipelines on Kubernetes, as Tekton runs them.

manifests.py  pure: what is to be there, and one run of it
kubectl.py    the kubectl command on one context; its errors become ours
"""

"""dctl: makes a cluster spec true, and shows what is true.

spec/       the cluster spec: kinds, loading with positions, validation, schema
hosts/      observe and run on one host
engine/     spec -> resources; observe -> verdicts -> plan (a value) -> apply -> status
protos/     .proto files to a generated package
render/     plan, events, status and tables as text and JSON
commands/   one file a command group, imported when it is called
tui/        the live screen
cli.py      the table of commands; errors.py: every way to say no; workspace.py: draft.yaml
"""

__version__ = "0.1.0"

"""The cluster, live, in a terminal.

store.py      what is known, without Textual: plain values and a change counter
feeds.py      what keeps the store true: streams of the services, a poll of the runtime
views.py      store -> columns and rows of each view, filtered; pure
app.py        wiring: views, keys, feeds
screens/      help, logs, describe        widgets/   the table, the filter, the line of feeds
snapshot.py   one picture of a view without a terminal
"""

"""The runtime that every service stands on: a service is a function (event, its own state) → (new state, new events).

`reactions` says what a handler is, `service` runs it, `log` reads, `relay` publishes, `writer` commits.
"""

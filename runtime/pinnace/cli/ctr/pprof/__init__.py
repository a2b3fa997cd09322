"""Verbs on the debug socket: what the daemon, or a shim, tells about its own insides.

Each asks for ``/debug/pprof/NAME`` by HTTP over the unix socket, as Go's programs serve it, and writes the answer
to standard output: a profile of Go's for containerd, text for pinnaced.
"""

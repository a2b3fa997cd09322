"""The version of the runtime, as every command and the daemon give it."""

VERSION = "0.1.0"

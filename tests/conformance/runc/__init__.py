"""The low-level runtime on the real kernel."""

"""Our shim under another daemon: containerd's shim protocol (Task service, versions 2 and 3) before :mod:`pinnace.keeper.shim`."""

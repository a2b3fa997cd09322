"""A small D-Bus client, enough to ask systemd for units (D-Bus Specification 0.43).

``wire`` turns values into bytes and back, ``connection`` signs in, calls, and waits for signals.
"""

from __future__ import annotations

from pinnace.linux.dbus.connection import Connection, DBusError
from pinnace.linux.dbus.wire import Variant

__all__ = ["Connection", "DBusError", "Variant"]

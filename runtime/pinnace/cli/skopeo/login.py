"""``skopeo login``: keep the login for a registry, once the registry took it."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from pinnace.cli.options import switch, text
from pinnace.cli.skopeo import places
from pinnace.errors import InvalidArgument, NotFound, PermissionDenied
from pinnace.registry import credentials
from pinnace.registry.credentials import Login
from pinnace.spec.reference import Reference

if TYPE_CHECKING:
    from pinnace.cli.options import Call, Flag

USAGE = "REGISTRY"
FLAGS: tuple[Flag, ...] = (
    text("username", "u", about="user name"),
    text("password", "p", about="password (visible to others on this machine: rather use stdin)"),
    switch("password-stdin", about="read the password from standard input"),
    text("authfile", about="file to keep the login in"),
    text("compat-auth-file", about="file to keep the login in, in Docker's form"),
    switch("get-login", about="print the user name that is kept"),
    text("cert-dir", about="directory with certificates for the registry"),
    switch("tls-verify", about="=false takes any certificate, or none"),
    switch("verbose", "v", about="say where the login is kept"),
)


def run(call: Call) -> int:
    registry = key_of(call.only_argument("please name a registry"))
    path = file_of(call)
    host = registry.partition("/")[0]
    if call.on("get-login"):
        found = credentials.find(
            registry, [path] if call.given("authfile") else credentials.paths()
        )
        if found is None:
            raise NotFound(f"not logged in to {registry}")
        sys.stdout.write(f"{found.user}\n")
        return 0
    if _is_logged_in(call, registry, path):
        return 0
    login = _login(call, registry)
    _check(call, host, login)
    credentials.store(path, registry, login)
    if call.on("verbose"):
        sys.stdout.write(f"Used:  {path}\n")
    sys.stdout.write("Login Succeeded!\n")
    return 0


def _check(call: Call, host: str, login: Login) -> None:
    """Raises PermissionDenied when the registry does not take the login."""
    given = credentials.fixed(Reference(f"{host}/login"), login)
    with closing(places.resolver_for(call, given)) as resolver:
        resolver.check(host)


def _is_logged_in(call: Call, registry: str, path: str) -> bool:
    """Whether a login that is kept will do, where none is given."""
    if call.text("username") or call.text("password") or call.on("password-stdin"):
        return False
    found = credentials.find(registry, [path] if call.given("authfile") else credentials.paths())
    if found is None:
        return False
    sys.stdout.write(f"Authenticating with existing credentials for {registry}\n")
    try:
        _check(call, registry.partition("/")[0], found)
    except PermissionDenied:
        sys.stdout.write(
            "Existing credentials are invalid, please enter valid username and password\n"
        )
        return False
    sys.stdout.write(f"Existing credentials are valid. Already logged in to {registry}\n")
    return True


def key_of(text_: str) -> str:
    """The registry, or a part of its namespace; a tag or a scheme would be a mistake."""
    name = text_.removeprefix("https://").removeprefix("http://").rstrip("/")
    if not name or "@" in name or ":" in name.rpartition("/")[2].partition(":")[2]:
        raise InvalidArgument(f"{text_!r} is not a registry")
    return name


def file_of(call: Call) -> str:
    """Where logins are kept."""
    if call.text("authfile") and call.text("compat-auth-file"):
        raise InvalidArgument("--authfile and --compat-auth-file cannot be used together")
    return call.text("authfile") or call.text("compat-auth-file") or credentials.default_path()


def _login(call: Call, registry: str) -> Login:
    user, password = call.text("username"), call.text("password")
    if call.on("password-stdin"):
        if password:
            raise InvalidArgument("--password and --password-stdin cannot be used together")
        if not user:
            raise InvalidArgument("--password-stdin needs --username")
        password = sys.stdin.readline().rstrip("\r\n")
    if not user or not password:
        if not os.isatty(0):
            raise InvalidArgument(
                f"user name and password for {registry} are needed",
                hint="--username NAME --password-stdin",
            )
        import getpass

        user = user or input("Username: ")
        password = password or getpass.getpass("Password: ")
    return Login(user, password)

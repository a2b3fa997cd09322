"""Answers questions about inventories with ansible-core; runs in an environment of its own.

A question is a line of JSON on standard input, ``{"path": FILE, "patterns": [TEXT, ...], "export": BOOL}``;
the answer a line on standard output: what ``ansible-inventory --list`` and ``--graph`` print, and the hosts
that each pattern names, or ``{"error": TEXT}``. One process answers them all: starting Ansible takes a second.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ansible import context
from ansible.cli.inventory import InventoryCLI
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.utils.context_objects import CLIArgs
from ansible.vars.manager import VariableManager


def answer(question: dict[str, Any]) -> dict[str, Any]:
    arguments = {"export": question["export"], "basedir": None, "show_vars": True, "pattern": "all"}
    context.CLIARGS = CLIArgs({**arguments, "yaml": False, "toml": False})
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[question["path"]])
    cli = InventoryCLI(["ansible-inventory", "--list"])
    cli.loader, cli.inventory = loader, inventory
    cli.vm = VariableManager(loader=loader, inventory=inventory)
    return {
        "list": json.loads(cli.dump(cli.json_inventory(inventory.groups["all"]))),
        "graph": cli.inventory_graph().splitlines(),
        "hosts": {
            pattern: [host.name for host in inventory.get_hosts(pattern)]
            for pattern in question["patterns"]
        },
    }


def main() -> None:
    init_plugin_loader()
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception as problem:  # Whatever Ansible refuses is an answer too.
            found = {"error": f"{type(problem).__name__}: {problem}"}
        print(json.dumps(found), file=out, flush=True)


if __name__ == "__main__":
    main()

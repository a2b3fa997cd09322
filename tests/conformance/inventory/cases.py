"""Inventories that we and Ansible have to understand alike.

A case is the text of an inventory, or a mapping of file names to texts where ``group_vars/`` and
``host_vars/`` belong to it; ``hosts`` is the inventory itself.
"""

from __future__ import annotations

_WORDS = """
1 -3 +4 1.5 1e3 0x1f 0o17 0b11 007 1_000 True False true false yes no on None none null ~ plain 10.0.0.1 a:b
/dev/ttyS0 C:\\\\temp $HOME {{x}} @file %s 2024-01-01 12:30 1j ... [] {} () (1,) (1,2) {1,2} [1,'a'] [1,a]
{'a':[1]} {'a':{'b':None}} {1:2} 'x' '' ünï \\x41 1.2.3 -1. .5 --5 1+2 not
"""
_VALUES = _WORDS.split()

VALUES = [f"[g]\nh\n[g:vars]\nv={value}\n" for value in _VALUES]
"""One value each, as a line of a group."""

HOST_VALUES = [f"h v={value}\n" for value in _VALUES if "'" not in value and "\\" not in value]
"""The same as words of a host's line."""

LINES = [
    "[g]\nh\n[g:vars]\nv = spaced value # kept\n",
    "[g]\nh\n[g:vars]\nv='a # b'\n",
    '[g]\nh\n[g:vars]\nv="quoted"\n',
    "[g]\nh\n[g:vars]\nv=a=b=c\n",
    "[g]\nh\n[g:vars]\nv=\n",
    "[g]\nh\n[g:vars]\nv=  \n",
    "[g]\nh\n[g:vars]\nwith space=1\n",
    "h a=1 b=two c='x y' d=\"x=y\"\n",
    "h a='it''s' b=x\\ y\n",
    "h a=\"'quoted'\" b='\"quoted\"'\n",
    "h a='[1, 2]' b=\"{'k': 'v w'}\"\n",
    "h a=1 # b=2\n",
    "h a=x#y\n",
    "h a=1 a=2\n",
    "h a=1\nh b=2\nh a=3\n",
    "   h   a=1\t b=2   \n",
    "; comment\n# comment\n\nh\n",
    "h ;x=1\n",
    "a:22\nb:2222 ansible_port=23\n",
    "a:22\na:23\n",
    "[2001:db8::1]:2022\n2001:db8::2\n",
    "127.0.0.1\n127.0.0.2:80\n",
    "a.b.example\na-b_c\n",
    "localhost\n",
    "localhost ansible_connection=local\n",
]

RANGES = [
    "a[1:3]\n",
    "a[01:03]\n",
    "a[008:010]\n",
    "a[1:5:2]\n",
    "a[:2]\n",
    "a[9:11]\n",
    "a[00:04:2].lan v=1\n",
    "db-[a:c].lan\n",
    "db-[A:C]\n",
    "db-[a:g:3]\n",
    "x[1:2][a:b]\n",
    "x[1:2]-y[01:02]\n",
    "x[1:2]:2200\n",
    "x[3:3]\n",
]

GROUPS = [
    "z\n[a]\nx\ny\n[b]\ny\n",
    "z\n[a]\nx\n[a]\ny\nz\n",
    "[a]\n[b]\nh\n",
    "[a:children]\nb\n[b]\nh\n",
    "[b]\nh\n[a:children]\nb\n[a:vars]\nx=1\n",
    "[a:vars]\nx=1\n[a]\nh\n",
    "[a:children]\nb\nc\n[b]\nh1\n[c]\nh2\n[d:children]\na\n",
    "[top:children]\nleft\nright\n[left:children]\nlow\n[right:children]\nlow\n[low]\nh\n[left:vars]\nv=left\n[right:vars]\nv=right\n",
    "[all:vars]\nv=1\n[g]\nh\n",
    "[all:vars]\nv=1\n[g]\nh\n[g:vars]\nv=2\n",
    "h\n[ungrouped:vars]\nv=1\n",
    "[ungrouped]\nh v=1\n[g]\nh\n",
    "[all]\nh\n[g]\nk\n",
    "[all:children]\ng\n[g]\nh\n",
    "h\n[all:children]\ng\n[g]\nh\n",
    "[g] # comment\nh\n[g:vars]   # another\nv=1\n",
    "[a:children]\nb # why\n[b]\nh\n",
    "[g-1]\nh\n[g.2]\nh\n",
    "[b]\nh\n[a]\nh\n[a:vars]\nv=a\n[b:vars]\nv=b\n",
    "[b]\nh\n[a]\nh\n[a:vars]\nv=a\nansible_group_priority=10\n[b:vars]\nv=b\n",
    "[b]\nh\n[a]\nh\n[a:vars]\nv=a\nansible_group_priority='3'\n[b:vars]\nv=b\nansible_group_priority=2\n",
    "[p:children]\nc\n[c]\nh\n[p:vars]\nv=p\nansible_group_priority=9\n[c:vars]\nv=c\n",
    "[deep1:children]\ndeep2\n[deep2:children]\ndeep3\n[deep3]\nh\n[flat]\nh\n[flat:vars]\nv=flat\n[deep3:vars]\nv=deep\n",
    "[deep1:children]\ndeep2\n[deep2]\nh\n[z]\nh\n[z:children]\ndeep2\n[z:vars]\nv=z\n[deep1:vars]\nv=1\n",
    "h a=host\n[child]\nh\n[parent:children]\nchild\n[all:vars]\na=all\nb=all\nc=all\nd=all\n[parent:vars]\nb=parent\nc=parent\na=parent\n[child:vars]\nc=child\na=child\n",
    "[g]\nh ansible_group_priority=5\n",
    "",
    "# nothing\n",
]

FILES = [
    {"hosts": "[g]\nh\n", "group_vars/g": "v: 1\n"},
    {"hosts": "[g]\nh\n", "group_vars/g.yml": "v: [1, two, {a: b}]\n"},
    {"hosts": "[g]\nh\n", "group_vars/g.yaml": "v: yes\nw: 'yes'\n"},
    {"hosts": "[g]\nh\n", "group_vars/g.json": '{"v": {"a": [1, null, true]}}'},
    {"hosts": "[g]\nh\n", "group_vars/g.yml": "v: yml\n", "group_vars/g.yaml": "v: yaml\nw: 1\n"},
    {"hosts": "[g]\nh\n", "group_vars/g": "v: plain\n", "group_vars/g.yml": "v: yml\n"},
    {"hosts": "[g]\nh\n", "group_vars/g/b.yml": "v: b\n", "group_vars/g/a.yml": "v: a\nw: a\n"},
    {"hosts": "[g]\nh\n", "group_vars/g/sub/x.yml": "v: sub\n", "group_vars/g/z": "w: z\n"},
    {"hosts": "[g]\nh\n", "group_vars/g/.hidden.yml": "v: 1\n", "group_vars/g/a.yml~": "v: 2\n", "group_vars/g/a.txt": "v: 3\n", "group_vars/g/a.yml": "w: 4\n"},
    {"hosts": "[g]\nh\n", "group_vars/g/sub.d/x.yml": "v: 1\n", "group_vars/g/ok.yml": "w: 1\n"},
    {"hosts": "[g]\nh\n[g:vars]\nv=inline\n", "group_vars/g.yml": "v: file\n"},
    {"hosts": "[g]\nh\n[g:vars]\nv=inline\n", "group_vars/all.yml": "v: file of all\n"},
    {"hosts": "[g]\nh v=inline\n", "group_vars/g.yml": "v: file\n"},
    {"hosts": "h v=inline\n", "host_vars/h.yml": "v: file\n"},
    {"hosts": "h v=inline w=1\n", "host_vars/h/a.yml": "v: file\n", "group_vars/all/a.yml": "w: 2\nx: 3\n"},
    {"hosts": "h\n", "group_vars/ungrouped.yml": "v: 1\n"},
    {"hosts": "[p:children]\nc\n[c]\nh\n", "group_vars/p.yml": "v: p\nw: p\n", "group_vars/c.yml": "v: c\n"},
    {"hosts": "[b]\nh\n[a]\nh\n[a:vars]\nansible_group_priority=5\n", "group_vars/a.yml": "v: a\n", "group_vars/b.yml": "v: b\n"},
    {"hosts": "[g]\nh\n", "group_vars/g.yml": "ansible_group_priority: 7\n"},
    {"hosts": "h\n", "host_vars/h.yml": "---\n"},
    {"hosts": "h\n", "host_vars/h.yml": ""},
    {"hosts": "h\n", "host_vars/h.yml": "# only a comment\n"},
    {"hosts": "h\n", "host_vars/h.yml": "a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}\n"},
    {"hosts": "h\n", "host_vars/h.yml": "a: |\n  two\n  lines\nb: >\n  folded\n  text\n"},
    {"hosts": "h\n", "host_vars/h.yml": "a: 0o17\nb: 017\nc: 0x1f\nd: 1e3\ne: 1.5\nf: ~\ng: 12:30\n"},
    {"hosts": "h\n", "host_vars/other.yml": "a: 1\n"},
    {"hosts": "a.b.example\n", "host_vars/a.b.example.yml": "v: 1\n"},
    {"hosts": "x[1:2]\n", "host_vars/x1": "v: one\n"},
]  # fmt: skip

WRONG = [
    "[g\nh\n",
    "[g:kids]\nh\n",
    "[g:vars]\nv=1\n",
    "[a:children]\nb\n",
    "[g]\nh\n[g:vars]\nword\n",
    "h word\n",
    "h v='open\n",
    "h[1:]\n",
    "h[01:3]\n",
    "h[1:3:0]\n",
    "h[1:b]\n",
    "h[1]\n",
    "h[c:a]\n",
    "[a:children]\na\n",
    "[a:children]\nb\n[b:children]\na\n",
    "h:\n",
    "---\n",
    "[g]\nh\n[g:vars]\nansible_group_priority=high\n",
    {"hosts": "h\n", "host_vars/h.yml": "- a list\n"},
    {"hosts": "h\n", "host_vars/h.yml": "a: [1\n"},
    {"hosts": "h\n", "host_vars/h.yml": "a: 1\n b: 2\n"},
    {"hosts": "h\n", "host_vars/h.yml": "a: b: c\n"},
]
"""What both refuse."""

STRICTER = {
    "an empty range names no host": "h[3:1]\n",
    "a name that is given twice in a file": {"hosts": "h\n", "host_vars/h.yml": "a: 1\na: 2\n"},
}
"""What Ansible passes over in silence (or with a warning) and we refuse: each a deliberate difference."""

PATTERNS_OF = "one\n[web]\nw1\nw2\nw3\n[db]\nd1\nw3\n[staging]\nw1\nd1\n[six]\n2001:db8::1\n[web-eu:children]\nweb\n"
PATTERNS = (
    "all", "*", "w1", "web", "web:db", "web,db", "web, d1", "web:!staging", "!staging:web", "web:&staging",
    "web:db:&staging:!d1", "!web", "&db", "w*", "~w[12]", "~(w|d)1", "web[0]", "web[-1]", "web[0:1]", "web[1:]",
    "2001:db8::1", "ungrouped", "w?", "w[!12]*", "db:!w*", "all:!web:!db", "web-eu", "web-eu:&db",
    "d1:w1", "w1,w1,web", "~^w.*[^1]$", "*1", "st*:&w*",
)  # fmt: skip

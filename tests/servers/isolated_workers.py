"""A worker pool on a host of its own: another network, and a disk with an interpreter and its packages and no more."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.servers.small_cluster import POOL, Pool, clean, free_port, listens, overlay, started, wait_for
from tests.servers.tools import lacking, require, require_worker_python

_FORWARDER = Path(__file__).with_name("forwarder.py")
# What the host gets of this one's disk besides the interpreter: the system's programs and libraries.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc")


@contextlib.contextmanager
def pool_on_own_host(folder: Path, environment: Mapping[str, str], ports: Sequence[int]) -> Iterator[Pool]:
    """A worker pool whose host reaches the given ports of this one's loopback, under their own numbers, and no others.

    Skips the test where hosts cannot be made.
    """
    require("ip"), require("unshare")
    if os.geteuid() != 0:
        lacking("a host of the workers' own needs root")
    with contextlib.ExitStack() as stack:
        name, here, there = _network(stack)
        wide = [port for port in ports if listens(here, port)]  # those listen on all addresses already
        outside = [f"{here}:{port}=127.0.0.1:{port}" for port in ports if port not in wide]
        inside = [f"127.0.0.1:{port}={here}:{port}" for port in ports]
        if outside:
            stack.enter_context(
                started([sys.executable, str(_FORWARDER), *outside], folder / "out.log", folder, os.environ)
            )
        into = ["ip", "netns", "exec", name]
        stack.enter_context(
            started([*into, sys.executable, str(_FORWARDER), *inside], folder / "in.log", folder, os.environ)
        )
        script = folder / "host.sh"
        port = free_port()
        script.write_text(_script(folder, environment, port))
        command = [*into, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", str(script)]
        process = stack.enter_context(started(command, folder / "pool.log", folder, os.environ))
        wait_for(lambda: listens(there, port), what="the worker pool on its own host")
        yield Pool(f"{there}:{port}", process, folder / "pool.log")


def _network(stack: contextlib.ExitStack) -> tuple[str, str, str]:
    """(Name of the network, this host's address in it, the other's), gone at the end."""
    name = f"ctm{secrets.token_hex(4)}"
    subnet = f"10.{random.randint(64, 250)}.{random.randint(0, 255)}"
    here, there = f"{subnet}.1", f"{subnet}.2"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        lacking(f"a network of the workers' own is refused: {made.stderr.strip()}")
    stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
    stack.callback(subprocess.run, ["ip", "link", "del", f"{name}a"], capture_output=True, check=False)
    for words in (
        f"link add {name}a type veth peer name {name}b netns {name}",
        f"addr add {here}/30 dev {name}a",
        f"link set {name}a up",
        f"-n {name} addr add {there}/30 dev {name}b",
        f"-n {name} link set {name}b up",
        f"-n {name} link set lo up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    return name, here, there


def _script(folder: Path, environment: Mapping[str, str], port: int) -> str:
    """A shell script that makes the host's disk and becomes the pool on it."""
    root = folder / "disk"
    root.mkdir()
    python = overlay(folder / "environment")
    workers = require_worker_python().parents[1]
    home = Path(sys.base_prefix)
    lines = ["set -e", "mount --make-rprivate /", f"mount -t tmpfs tmpfs {root}"]
    lines += [f"mkdir -p {root}/environment {root}/tmp {root}/proc {root}/dev", f"mount -t tmpfs tmpfs {root}/tmp"]
    for place in (*_SYSTEM, str(home), str(workers)):
        path = Path(place)
        if path.is_symlink():
            lines.append(f"ln -s {os.readlink(path)} {root}{path}")
        elif path.exists() and not any(place.startswith(f"{system}/") for system in _SYSTEM):
            lines += [f"mkdir -p {root}{path}", f"mount --bind {path} {root}{path}"]
    lines += [
        f"mount --bind {folder / 'environment'} {root}/environment",
        f"mount -t proc proc {root}/proc",
        f"mount --rbind /dev {root}/dev",
        f"touch {root}/boot",
        f"mount --bind {require('container')} {root}/boot",
        f"cd {root}",
    ]
    known = clean(Path("/environment/bin/python"), {**environment, "HOME": "/tmp"})
    words = [f"{name}={value}" for name, value in known.items()]
    command = [f"/environment/bin/{python.name}", *POOL, f"--service_port={port}", "--container_executable=/boot"]
    lines.append(shlex.join(["exec", "chroot", str(root), "/usr/bin/env", "-i", *words, *command]))
    return "\n".join(lines) + "\n"


def sees(pool: Pool, path: Path) -> bool:
    """Whether the pool's host has anything at a path."""
    (python,) = [child for child in pool.processes() if POOL[1] in " ".join(child.cmdline())][-1:]
    return os.path.lexists(f"/proc/{python.pid}/root{path}")


def network_of(pool: Pool) -> str:
    """The name of the network that the pool is in."""
    return os.readlink(f"/proc/{pool.processes()[-1].pid}/ns/net")

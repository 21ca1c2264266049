# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent (``tsm``): this code as one program on the host.

``tsm run NAME`` takes a request as JSON on standard input and answers with JSON on standard output. The others are
started by the supervisor: ``tsm launch FILE`` becomes a service, ``tsm deadman DIR ORG ENV ID`` watches a
transaction, ``tsm boot DIR`` settles what a restart of the host interrupted. All
other words come from a person who is logged in, and are for ``host.command_line``.

What only one of them needs is imported there: no start of a service should wait until the engine is loaded.
"""

from __future__ import annotations

import sys

from . import launch

_USAGE = "usage: tsm run OPERATION < request.json | tsm launch FILE | tsm deadman DIR ORG ENV ID | tsm boot DIR"
# What a shell takes a program for that Ctrl-C ended.
_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run the agent.

    :param arguments: the words after the program's name.
    :returns: the exit code, one of ``model.transaction.EXIT_CODES``.
    """
    if len(arguments) == 2 and arguments[0] == "launch":
        return launch.main(arguments[1])

    from ..model import transaction
    from ..model.errors import INVALID, TetraError

    try:
        return _run(arguments)
    except TetraError as error:
        sys.stderr.write(f"tsm: {error}\n")
        return transaction.EXIT_CODES.get(error.code, transaction.EXIT_CODES[INVALID])
    except OSError as error:
        # Mostly a deadman, which is started again until the disk lets it do its work.
        sys.stderr.write(f"tsm: {error.filename or 'the host'}: {error.strerror or error}\n")
        return transaction.EXIT_CODES[transaction.REFUSED]


def _run(arguments: list[str]) -> int:
    if len(arguments) == 2 and arguments[0] == "run":
        return _answer(arguments[1])
    if len(arguments) == 2 and arguments[0] == "boot":
        return _boot(arguments[1])
    if len(arguments) == 5 and arguments[0] == "deadman":
        return _watch(*arguments[1:])
    if arguments and arguments[0] in ("run", "launch", "deadman", "boot"):
        from ..model.errors import TetraError

        raise TetraError(_USAGE)
    return _talk(arguments)


def _talk(arguments: list[str]) -> int:
    try:
        from . import command_line

        return command_line.main(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _watch(tetra_dir: str, org: str, env: str, identity: str) -> int:
    from . import deadman
    from .scope import open_scope

    deadman.watch(open_scope(tetra_dir, org, env), identity)
    return 0


def _boot(tetra_dir: str) -> int:
    from ..model import transaction
    from . import boot

    # What is settled starts services, whose ports a connection could have taken by then.
    reason = boot.keep_ports(tetra_dir)
    if reason:
        sys.stderr.write(f"tsm: outgoing connections may take ports of services: {reason}\n")
    failures = boot.settle(tetra_dir)
    for failure in failures:
        sys.stderr.write(f"tsm: {failure}\n")
    return transaction.EXIT_CODES[transaction.ROLLBACK_FAILED] if failures else 0


def _answer(name: str) -> int:
    import json

    from ..model.errors import TetraError
    from .operations import index

    try:
        request = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    except ValueError as error:
        raise TetraError(f"the request is not JSON: {error}") from error
    try:
        answer = {"result": index.run(name, request)}
    except TetraError as error:
        answer = {"error": {"message": error.message, "hint": error.hint, "code": error.code}}
    except OSError as error:
        answer = {"error": index.disk_error(error)}
    except (MemoryError, RuntimeError) as error:
        answer = {"error": index.lack(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0

# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every supervisor can do: keep processes alive that are described by unit specs."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

SYSTEMD = "systemd"
SUPERVISORD = "supervisord"

RUNNING = "running"
STARTING = "starting"
BACKOFF = "backoff"
EXITED = "exited"
FAILED = "failed"
STOPPED = "stopped"
ABSENT = "absent"


@dataclasses.dataclass(frozen=True)
class UnitSpec:
    """A process to keep alive.

    ``restart`` is always, on-failure or no; ``max_restarts`` fruitless restarts in a row are made, then it is given up.
    ``stop_timeout`` is how many seconds it has to end by itself. ``log`` is the file for all that it says, where the
    supervisor has no log of its own. ``script`` is a file that only its owner reads and that ``argv`` is to be given.

    What follows is for supervisors that honour it: ``owner`` (``org/env/service``), a ``description`` for people, the
    ``user`` to run as, the folder that this user may write to (``writable``), the units that it starts ``after``,
    whether it starts with the host (``autostart``), bytes of memory and cores it may use, ``hardening`` (none,
    standard, strict), and whether it binds a port below 1024 (``low_port``).
    """

    unit: str
    argv: list[str]
    log: str
    stop_timeout: float
    restart: str
    max_restarts: int
    script: str = ""
    owner: str = ""
    description: str = ""
    user: str = ""
    writable: str = ""
    after: tuple[str, ...] = ()
    autostart: bool = True
    memory_limit: int | None = None
    cpu_limit: float | None = None
    hardening: str = "none"
    low_port: bool = False


@dataclasses.dataclass(frozen=True)
class ProcessState:
    """What became of a unit.

    ``running``; ``starting`` (for the first time); ``backoff`` (it ended too early, and waits to be started again);
    ``exited`` (it ended by itself and is left so); ``failed`` (given up); ``stopped`` (on request); ``absent``.
    ``pid`` and ``started`` (seconds since the epoch) are of the living process, ``exit_code`` of one that ``exited``
    (-1 when a signal ended it), ``restarts`` counts since it was last started on request. What is not known is None.
    """

    unit: str
    state: str
    pid: int | None = None
    started: float | None = None
    restarts: int | None = None
    exit_code: int | None = None


class Supervisor(abc.ABC):
    """A program that keeps processes alive; methods take lists, so that a host is one call.

    ``honours`` has the keys of a service definition, without ``TSM_``, that its processes are run by. ``own_users``
    tells whether services run as users of their own; else all run as the user of the supervisor.
    All methods raise :class:`TetraError`, code ``refused``, when the supervisor cannot be talked to.
    """

    name = ""
    honours: frozenset[str] = frozenset()
    own_users = False

    @abc.abstractmethod
    def running(self) -> bool:
        """Whether the supervisor is there and answers."""

    @abc.abstractmethod
    def alive(self) -> bool:
        """Whether there is something to end: the supervisor, answering or not, or what a killed one has left."""

    @abc.abstractmethod
    def ensure_running(self) -> None:
        """Start the supervisor, and what it kept alive before, unless it runs; safe when two ask at once."""

    @abc.abstractmethod
    def shutdown(self) -> None:
        """End the supervisor and all that it keeps alive; :meth:`ensure_running` brings both back."""

    @abc.abstractmethod
    def states(self, units: Iterable[str]) -> dict[str, ProcessState]:
        """The state of each unit; ``absent`` for one that is not defined."""

    @abc.abstractmethod
    def start(self, specs: Sequence[UnitSpec]) -> None:
        """Define units and start them together; returns when none is ``starting`` any more.

        One that runs with the very same spec is left alone; one that runs with another is replaced.
        """

    @abc.abstractmethod
    def stop(self, units: Sequence[str], remove: bool = True) -> None:
        """Stop units together; one that is not defined is fine.

        :param remove: forget them as well; else they are ``stopped``, and stay so when the supervisor is started anew.
        """

    @abc.abstractmethod
    def tail(self, unit: str, size: int) -> str:
        """The last ``size`` bytes that a unit has said; empty for one that is not defined or was silent."""

    @abc.abstractmethod
    def arm(self, deadman: UnitSpec, lease: float, signed: Callable[[], bool]) -> bool:
        """Have a deadman run at the latest when a lease of so many seconds ends, over a restart of the host too.

        :param signed: whether the deadman has told that it is ready.
        :returns: whether it was read back that this is so; if not, nothing is left of it.
        """

    @abc.abstractmethod
    def disarm(self, units: Iterable[str]) -> None:
        """Forget deadmen; unknown ones are fine."""

    def sweep(self, age: float) -> None:
        """Remove what killed runs left half-written among the definitions of units, at least so many seconds ago."""
        return

    def launcher(self, agent: str) -> list[str]:
        """The program that is given the launch script of a service, and becomes the service.

        :param agent: the path of the agent, for a supervisor that needs more than a shell.
        """
        return [agent, "launch"]

    def starts(self, unit: str) -> str:
        """The file in which the launch script of a unit counts its starts; empty where the supervisor counts them."""
        return ""

    def settles_at_boot(self, program: str) -> bool:
        """Whether open transactions are settled when the host starts, as far as the supervisor has a say in it."""
        return True

    def settle_at_boot(self, program: str) -> None:
        """Have open transactions settled when the host starts.

        :param program: the agent, by a path that stays valid.
        """
        return

    def forget_boot(self) -> None:
        """Take back :meth:`settle_at_boot`."""
        return

    def forget_all(self) -> None:
        """Stop all services, and leave nothing that could start them again."""
        self.shutdown()

    def objections(self, owners: Mapping[str, str]) -> list[str]:
        """Why units cannot be defined, each reason a sentence: somebody else's have their names, for example.

        :param owners: unit to its owner, ``org/env/service``.
        """
        return []

    def edited(self, defined: Iterable[str]) -> dict[str, list[str]]:
        """Paths of what was done by hand to the definitions of units, which :meth:`replace` writes anew; by unit."""
        return {}

    def unit_text(self, spec: UnitSpec) -> str:
        """What :meth:`replace` writes as the definition of a unit, where somebody may edit it; else nothing."""
        return ""

    def unmanaged(self, owner: str, defined: Iterable[str]) -> list[str]:
        """Units that say they are ours and that nobody here has defined.

        :param owner: what the owners of all of them begin with, ``org/env/``.
        :param defined: the units that were.
        """
        return []

    def replace(self, units: Sequence[str], levels: Sequence[Sequence[UnitSpec]]) -> None:
        """Stop and forget units, then start others level by level."""
        self.stop(units, remove=True)
        for level in levels:
            self.start(level)

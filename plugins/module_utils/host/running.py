# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a release to running processes: what runs now, what each process is started with, and the switch itself."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..model import canonical, launch_script, plan, seal, values
from ..model.errors import REFUSED, TetraError
from ..model.ports.registry import LOWEST_PLAIN_PORT, PortValue, number_of, service_of
from ..model.release import ports_of
from ..model.service import Service
from . import accounts, durable, store
from .scope import Scope
from .supervisors.base import ABSENT, UnitSpec

UNKNOWN = "0" * 64
"""The digest of what a service was started with, and of its release, when its launch file is damaged."""

_LAUNCH_FORMAT = 1
_ANEW = "push or promote again, which writes it anew"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Python services must not write into the tree of their release, which is compared with its manifest.
_ENVIRONMENT = {"PATH": _PATH, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def observe(scope: Scope) -> dict[str, dict[str, Any]]:
    """What runs of an environment on this host, by service.

    :returns: service to ``digest`` and ``release`` that its process was started with, ``state``, ``running``, ``pid``,
        ``started``, ``restarts``, ``ports``, and ``stopped`` when a person stopped it.
    """
    environment = scope.environment
    launches = {name: started_with(scope, name) for name in _known(scope)}
    states = scope.supervisor.states(scope.units(launches)) if launches else {}
    result = {}
    for name, record in launches.items():
        process = states[scope.unit(name)]
        if process.state == ABSENT and not os.path.lexists(launch_path(scope, name)):
            continue
        result[name] = {
            "digest": record["digest"],
            "release": record["release"],
            "ports": record["ports"],
            "state": process.state,
            "running": process.state in ("running", "starting"),
            "pid": process.pid,
            "started": process.started,
            "restarts": process.restarts,
            "stopped": os.path.exists(os.path.join(environment.stopped, name)),
        }
    return result


def _known(scope: Scope) -> list[str]:
    """The services that were started here; of one whose launch file is gone the release says so."""
    with contextlib.suppress(TetraError):
        return sorted({*scope.environment.services(), *placed(scope, store.current(scope.environment))})
    return scope.environment.services()


def started_with(scope: Scope, service: str) -> dict[str, Any]:
    """The ``digest``, ``release`` and ``ports`` that a service was started with.

    Where its launch file is damaged, it is of the release that is current, if of any, and its digest is ``UNKNOWN``, so
    that the next switch starts it anew.
    """
    try:
        return launch_record(scope, service)
    except (FileNotFoundError, durable.DamagedError):
        return {"digest": UNKNOWN, **_of_current(scope, service)}


def _of_current(scope: Scope, service: str) -> dict[str, Any]:
    try:
        current = store.current(scope.environment)
        entry = store.manifest(scope.environment, current)["services"].get(service) if current else None
    except TetraError:
        current, entry = None, None
    return {"release": current or UNKNOWN, "ports": entry["ports"] if entry else {}}


def launch_path(scope: Scope, service: str) -> str:
    """The file that says how a service is started; it holds its secrets and is readable by its owner alone."""
    return os.path.join(scope.environment.run, f"{service}.json")


def script_path(scope: Scope, service: str) -> str:
    """What a supervisor gives to a shell that becomes the service; it is made from the launch file."""
    return os.path.join(scope.environment.run, f"{service}.sh")


def launch_record(scope: Scope, service: str) -> dict[str, Any]:
    """What a service is started with."""
    return durable.read_record(launch_path(scope, service), _LAUNCH_FORMAT, _ANEW)


def script(scope: Scope, service: str, record: Mapping[str, Any]) -> str:
    """What :func:`script_path` holds for a launch record, without its seal."""
    return launch_script.text(record, scope.supervisor.starts(scope.unit(service)))


def expected_launch(scope: Scope, release: str, service: str) -> dict[str, Any]:
    """The launch record of a service as it was made when it was started under a release.

    :raises TetraError: when the release is gone, or has no such service.
    """
    manifest = store.manifest(scope.environment, release)
    if service not in manifest["services"]:
        raise TetraError(f"release {release[:12]} has no service {service}", code=REFUSED)
    return launch_file(scope, release, manifest, service, store.private(scope.environment, release)["secrets"])


def seal_of(record: Mapping[str, Any]) -> str:
    """What a launch record has as its ``seal`` unless somebody edited it."""
    return canonical.digest({key: value for key, value in record.items() if key != "seal"})


def actions(scope: Scope, release: str | None, drifted: Collection[str] = ()) -> dict[str, str]:
    """What a switch to a release would do to each service of this host; None stands for no release at all.

    :param drifted: services that are to be restarted even if their digest did not change.
    """
    return plan.changes(observe(scope), _wanted(scope, release), drifted)


def placed(scope: Scope, release: str | None) -> list[str]:
    """The services of a release that this host runs."""
    return store.private(scope.environment, release)["services"] if release else []


def ports(scope: Scope, release: str | None) -> dict[str, PortValue]:
    """The ports that services of a release have on this host, by their key in the port registry."""
    if release is None:
        return {}
    here = placed(scope, release)
    return {key: value for key, value in ports_of(store.manifest(scope.environment, release)).items()
            if service_of(key) in here}


def _wanted(scope: Scope, release: str | None) -> dict[str, str]:
    if release is None:
        return {}
    services = store.manifest(scope.environment, release)["services"]
    return {name: services[name]["digest"] for name in placed(scope, release)}


def switch(scope: Scope, release: str | None, drifted: Collection[str] = ()) -> dict[str, str]:
    """Point ``current`` at a release and make the running services match it.

    A process whose digest did not change is left alone. What is no longer wanted is stopped before anything starts,
    because it may hold the port that the new one needs; so are units in our name that no service here has.

    :param drifted: services that are to be restarted even if their digest did not change.
    :returns: service to what was done to it.
    """
    environment = scope.environment
    done = actions(scope, release, drifted)
    unmanaged = scope.supervisor.unmanaged(scope.owner(""), scope.units(environment.services()))
    point(scope, release)
    records = _launches(scope, release, done) if release is not None else {}
    stopping = [name for name, action in done.items() if action in (plan.STOP, plan.RESTART)]
    # A launch file must never name another digest than that of the process that runs.
    scope.supervisor.stop(scope.units(stopping), remove=False)
    scope.supervisor.stop(unmanaged, remove=True)
    _write(scope, {launch_path(scope, name): canonical.dumps(record) + "\n" for name, record in records.items()})
    starting = [name for name, action in done.items() if action in (plan.START, plan.RESTART)]
    scope.supervisor.replace(scope.units(stopping), _levels(scope, {name: records[name] for name in starting}))
    for name in (name for name, action in done.items() if action == plan.STOP):
        durable.remove_tree(script_path(scope, name))
        durable.remove_tree(launch_path(scope, name))
    durable.sync_folder(environment.root)
    return done


def point(scope: Scope, release: str | None) -> None:
    """Make ``current`` name a release, or nothing; a folder that a person put there is kept beside it."""
    current = scope.environment.current
    if os.path.isdir(current) and not os.path.islink(current):
        durable.rename(current, f"{current}.{time.time_ns()}")
    if release is None:
        durable.remove(current)
    else:
        durable.replace_link(current, os.path.join("releases", release))


def start(scope: Scope, services: Iterable[str]) -> None:
    """Start services whose launch files are written, those that others depend on first."""
    scope.supervisor.replace([], _levels(scope, {name: launch_record(scope, name) for name in services}))


def _levels(scope: Scope, records: Mapping[str, Mapping[str, Any]]) -> list[list[UnitSpec]]:
    """What the supervisor is to start, level by level; the scripts that it needs for that are written."""
    scripts = {name: script(scope, name, record) for name, record in records.items()}
    _write(scope, {script_path(scope, name): seal.sealed(text) for name, text in scripts.items()})
    depends = {name: record["depends"] for name, record in records.items()}
    return [[unit_spec(scope, name, records[name]) for name in level] for level in plan.levels(records, depends)]


def _write(scope: Scope, texts: Mapping[str, str]) -> None:
    """Write files that only their owner reads into the folder for what services are started with."""
    for path, text in texts.items():
        if os.path.isdir(path):
            durable.remove_tree(path)
        with durable.replacing(path, 0o600) as file:
            file.write(text.encode())
    durable.sync_folder(scope.environment.run)


def unit_spec(scope: Scope, name: str, record: Mapping[str, Any]) -> UnitSpec:
    """What a supervisor is told of a service, from its launch record."""
    # What an agent that knew no systemd has written lacks the limits.
    limits = record.get("limits") or {}
    return UnitSpec(
        unit=scope.unit(name),
        argv=scope.supervisor.launcher(agent_file(scope)),
        script=script_path(scope, name),
        log=os.path.join(scope.environment.logs, f"{name}.log"),
        stop_timeout=record["stop_timeout"],
        restart=record["restart"],
        max_restarts=record["max_restarts"],
        owner=scope.owner(name),
        description=record.get("description", ""),
        user=record.get("user", ""),
        writable=scope.user_home,
        after=tuple(scope.units(record["depends"])),
        autostart=limits.get("autostart", True),
        memory_limit=limits.get("memory"),
        cpu_limit=limits.get("cpu"),
        hardening=limits.get("hardening", "none"),
        low_port=any(number_of(value) < LOWEST_PLAIN_PORT for value in record["ports"].values()),
    )


def agent_file(scope: Scope) -> str:
    """The exact file of the agent, so that an upgrade does not change what is already started with the old one."""
    return os.path.realpath(os.path.join(scope.home.bin, "tsm"))


def _launches(scope: Scope, release: str, done: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The launch records of the services that a switch changes."""
    manifest = store.manifest(scope.environment, release)
    secrets = store.private(scope.environment, release)["secrets"]
    changing = [name for name, action in done.items() if action not in (plan.STOP, plan.KEEP)]
    records = {name: launch_file(scope, release, manifest, name, secrets) for name in changing}
    return {name: {**record, "seal": seal_of(record)} for name, record in records.items()}


def launch_file(
    scope: Scope, release: str, manifest: Mapping[str, Any], name: str, secrets: Mapping[str, str]
) -> dict[str, Any]:
    """The launch record of a service of a release, with everything resolved that only this host knows.

    :raises TetraError: for a variable or a secret that this host does not have.
    """
    entry = manifest["services"][name]
    service = Service.from_wire(entry["definition"])
    folder = os.path.join(scope.environment.releases, release)
    user = scope.user(service)
    variables = host_variables(scope, release, name, entry["ports"], user)
    own_files = f"files/{name}"
    has_own = any(path.startswith(f"{own_files}/") for path in manifest["files"])
    default = variables["TETRA_SERVICE_DIR"] = os.path.join(folder, own_files) if has_own else folder
    cwd = os.path.join(default, values.resolve(service.cwd, variables, {})) if service.cwd else default
    variables["PWD"] = os.path.normpath(cwd)
    own = {key: values.resolve(value, variables, secrets) for key, value in service.environment.items()}
    return {
        "format": _LAUNCH_FORMAT,
        "service": name,
        "description": service.description,
        "user": user,
        "digest": entry["digest"],
        "release": release,
        "ports": entry["ports"],
        "depends": list(service.depends),
        "stop_timeout": service.stop_timeout,
        "restart": service.restart,
        "max_restarts": service.max_restarts,
        "limits": {
            "autostart": service.autostart,
            "memory": service.memory_limit,
            "cpu": service.cpu_limit,
            "hardening": service.hardening,
        },
        "argv": argv(service.command, variables),
        "cwd": variables["PWD"],
        "pre_commands": [argv(command, variables) for command in service.pre_commands],
        "environment": {**_ENVIRONMENT, **variables, **own},
        "health": resolve_health(service.health, variables),
        "min_healthy": service.min_healthy,
    }


def host_variables(
    scope: Scope, release: str, name: str, ports: Mapping[str, PortValue], user: str = ""
) -> dict[str, str]:
    """The variables that every process of an environment is given by the host it runs on.

    :param ports: ``main`` and the names of further ports to port values.
    :param user: who the service runs as; empty for the user of this process.
    :raises TetraError: code ``refused`` when the host has no such user.
    """
    account = accounts.find(user) if user else pwd.getpwuid(os.geteuid())
    if account is None:
        raise TetraError(f"{name}: there is no user {user} on this host", hint="make it, or correct TSM_USER",
                         code=REFUSED)
    variables = {
        "HOME": account.pw_dir,
        "USER": account.pw_name,
        "TETRA_DIR": scope.home.root,
        "TETRA_SRC": scope.home.root,
        "TETRA_ORG": scope.org,
        "TETRA_ENV": scope.env,
        "TETRA_RELEASE": release,
        "TETRA_RELEASE_DIR": os.path.join(scope.environment.releases, release),
        "TETRA_ADDRESS": scope.settings.address,
        "HOST": scope.settings.address or "0.0.0.0",
        "TSM_NAME": name,
    }
    for key, value in ports.items():
        names = values.PORT_VARIABLES if key == "main" else [values.port_variable(key)]
        variables.update(dict.fromkeys(names, str(number_of(value))))
    return variables


def argv(command: Mapping[str, Any], variables: Mapping[str, str]) -> list[str]:
    """The argument vector of a command; text with shell syntax is given to bash, or to sh where there is none."""
    if "argv" in command:
        return [values.resolve(word, variables, {}) for word in command["argv"]]
    return ["bash" if shutil.which("bash", path=_PATH) else "sh", "-c", values.resolve(command["shell"], variables, {})]


def resolve_health(health: Mapping[str, Any] | None, variables: Mapping[str, str]) -> dict[str, Any] | None:
    """A health check with its values resolved for this host."""
    if health is None:
        return None
    result = dict(health)
    for key in ("url", "address", "port"):
        if key in result:
            result[key] = values.resolve(result[key], variables, {})
    if "command" in result:
        result["argv"] = argv(result.pop("command"), variables)
    return result


def bring_to(
    scope: Scope, observed: Mapping[str, Mapping[str, Any]], services: Iterable[Mapping[str, str]], check: bool
) -> dict[str, Any]:
    """Start, stop or restart services as asked, all in one go.

    :param services: ``{"name", "state"}`` each; a stopped service is remembered and stays stopped.
    :returns: ``changed``, ``services`` with what was (or in check mode would be) done to each.
    """
    wanted = {service["name"]: service["state"] for service in services}
    done = {name: _act(observed[name], state) for name, state in wanted.items()}
    result = {"changed": any(action != plan.KEEP for action in done.values()), "services": done}
    if check:
        return result
    durable.make_folder(scope.environment.stopped, 0o755)
    stopping = [name for name, action in done.items() if action in (plan.STOP, plan.RESTART)]
    scope.supervisor.stop(scope.units(stopping), remove=False)
    for name, action in done.items():
        marker = os.path.join(scope.environment.stopped, name)
        if action == plan.STOP:
            durable.write_file(marker, b"")
        elif observed[name]["stopped"] and wanted[name] != "stopped":
            durable.remove(marker)
    start(scope, [name for name, action in done.items() if action in (plan.START, plan.RESTART)])
    return result


def _act(observed: Mapping[str, Any], state: str) -> str:
    if state == "stopped":
        return plan.KEEP if observed["stopped"] and not observed["running"] else plan.STOP
    if state == "restarted":
        return plan.RESTART
    return plan.KEEP if observed["running"] else plan.START

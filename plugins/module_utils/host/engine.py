# Copyright: tetra.platform contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: takes one host from one release to another, and back when it was not confirmed.

Every public function is one step of a transaction and one run on the host. All but the probing happens under the lock
of the environment. The deadman (``host.deadman``) runs beside it and reverts when the lease is over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..model import health, plan, release, transaction
from ..model.errors import REFUSED, TetraError
from . import drift, durable, evidence, holds, journal, probing, processes, running, store, transactions
from .scope import Scope
from .supervisors.base import UnitSpec
from .transactions import Transaction

_LOCK_TIMEOUT = 30.0
_LEASE_RESERVE = 2.0
_PROBE_LIMIT_OF_A_REVERT = 60.0
_NEVER_GIVE_UP = 1_000_000
_KEPT_TRANSACTIONS = 10
_ABANDONED = 3600.0


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why a host goes back: ``verdict`` tells a judgement, which puts the bundle on hold, from a mere expiry."""

    reason: str
    verdict: bool
    check: str = ""


EXPIRED = Cause("the lease ended and nobody had confirmed", verdict=False)


def activate(scope: Scope, identity: str) -> dict[str, Any]:
    """Arm the revert, switch, and watch what was changed; a service that fails takes the host back at once.

    :returns: ``state`` of the transaction as read back, ``services`` with what was done, ``reports`` by service.
    :raises TetraError: code ``refused`` when the transaction is not staged, or cannot be armed; nothing was switched.
    """
    with locked(scope):
        settle(scope)
        found = transactions.load(scope.environment, identity)
        _check_staged(scope, found)
        # Before the release that runs is laid anew, which hides what was edited.
        drifted = drift.to_restart(scope, running.observe(scope))
        actions = running.actions(scope, found.record["to"], drifted)
        red = _red_before(scope, actions)
        _arm(scope, found)
        failure = _switch(scope, found, drifted)
    if failure:
        return _revert_result(scope, identity, Cause(failure, verdict=True, check="start"), actions, {})
    reports = _watch(scope, found, actions)
    wire = {name: {**report.to_wire(), "red_before": name in red} for name, report in reports.items()}
    cause = _failure({name: report for name, report in reports.items() if name not in red})
    if transactions.load(scope.environment, identity).state != transaction.PROBING:
        return _result(scope, identity, actions, wire)
    if cause:
        return _revert_result(scope, identity, cause, actions, wire)
    transactions.write_proof(scope.environment, identity)
    return _result(scope, identity, actions, wire)


def _failure(reports: Mapping[str, probing.Report]) -> Cause | None:
    """Why a host goes back: a service that failed, else one that could not be proven healthy."""
    causes = [_cause(name, report) for name, report in sorted(reports.items()) if report.verdict != health.HEALTHY]
    return next((cause for cause in causes if cause.verdict), causes[0] if causes else None)


def _cause(name: str, report: probing.Report) -> Cause:
    failed = report.verdict == health.FAILED
    return Cause(f"{name}: {report.reason}", verdict=failed, check=f"{name}: {report.check}" if failed else "")


def renew(scope: Scope, identity: str) -> dict[str, Any]:
    """Let a host that was switched wait for the rest of its fleet, with a lease of full length again."""
    with locked(scope):
        _settle_open(scope)
        found = transactions.load(scope.environment, identity)
        if transaction.may_wait(transactions.standing(scope.environment, found)):
            transactions.renew_lease(scope.environment, identity, found.record["lease"])
    return _result(scope, identity, {}, {})


def decide(scope: Scope, identity: str, decision: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the decision of the fleet beside the transaction, if this host still waits for one, and renew its lease."""
    with locked(scope):
        _settle_open(scope)
        found = transactions.load(scope.environment, identity)
        if transaction.may_wait(transactions.standing(scope.environment, found)):
            transactions.renew_lease(scope.environment, identity, found.record["lease"])
            transactions.write_decision(scope.environment, identity, decision)
    return _result(scope, identity, {}, {})


def stay(scope: Scope, identity: str, base: Mapping[str, Any]) -> dict[str, Any]:
    """Tell that this host is still as a plan leaves it, which the decision for its fleet counts on.

    :param base: the host's part of the plan.
    :raises TetraError: code ``refused`` when another run moved it, or is about to.
    """
    with locked(scope):
        check_no_open_transaction(scope)
        check_base(scope, base)
    return {"transaction": identity, "state": transaction.UNMOVED, "release": store.current(scope.environment)}


def confirm(scope: Scope, identity: str) -> dict[str, Any]:
    """Make a switch final, unless the deadman was first; the answer says who won."""
    with locked(scope):
        _settle_open(scope)
        found = transactions.load(scope.environment, identity)
        standing = transactions.standing(scope.environment, found)
        moved = _moved(scope, found) if standing.state == transaction.PROBING else ""
        if transaction.may_confirm(standing) and not moved:
            _check_journal(scope, identity)
            # What the journal will say has to be readable while the host can still go back.
            transactions.decision(scope.environment, identity)
            transactions.move(scope.environment, identity, transaction.PROBING, transaction.CONFIRMED)
        found = transactions.load(scope.environment, identity)
        # One that comes twice, or late, finds it done; what it would do could hit a transaction that came since.
        if found.state == transaction.CONFIRMED and not _is_written(scope, identity):
            _finish_confirmed(scope, found)
    if moved:
        return revert(scope, identity, Cause(moved, verdict=False))
    _await_end(scope, identity)
    return _result(scope, identity, {}, {})


def _moved(scope: Scope, found: Transaction) -> str:
    """How it is that another release than that of a transaction is current; empty when it is not so."""
    try:
        current = store.current(scope.environment)
    except TetraError as error:
        return str(error)
    to = found.record["to"]
    return "" if current == to else f"{scope.environment.current} names {str(current)[:12]} and not {to[:12]}"


def _check_journal(scope: Scope, identity: str = "", most: int = 0) -> None:
    """Refuse to go on with a journal that was lost: it says what can be gone back to, and so what is not removed.

    :param identity: a transaction of which it has nothing to say yet.
    :param most: how many ends of others a run that was killed may have left to be written.
    """
    written = {str(record.get("transaction")) for record in journal.read(scope.environment)} | {identity}
    lost = transaction.unwritten(transactions.states(scope.environment), written)
    if len(lost) > most:
        raise TetraError(
            f"{scope.environment.journal} has lost records: it does not say how {', '.join(lost)} ended",
            hint="restore it from a backup; if there is none, move the files of these transactions away from "
            f"{scope.environment.tx}, and the journal begins anew",
            code=REFUSED,
        )


def _await_end(scope: Scope, identity: str) -> None:
    end = time.monotonic() + _LOCK_TIMEOUT
    while transactions.load(scope.environment, identity).state in transaction.OPEN and time.monotonic() < end:
        time.sleep(0.2)


def revert(scope: Scope, identity: str, cause: Cause) -> dict[str, Any]:
    """Take a host back to the release before; a transaction that already ended is only reported.

    One that was never armed is given up, so that a switch that is still on its way comes too late.
    """
    if take_back(scope, identity, cause) == transaction.STAGED:
        return abort(scope, identity)
    _disarm(scope, identity)
    return _result(scope, identity, {}, {})


def take_back(scope: Scope, identity: str, cause: Cause) -> str:
    """The revert itself, without ending the deadman, who may be the caller; the state that it ended in."""
    begin_revert(scope, identity)
    with locked(scope):
        found = transactions.load(scope.environment, identity)
        if found.state == transaction.ROLLING_BACK:
            _finish_revert(scope, found, cause)
    return transactions.load(scope.environment, identity).state


def begin_revert(scope: Scope, identity: str) -> bool:
    """Claim the revert of a transaction by renaming it; whether the transaction is now ``rolling_back``."""
    for _attempt in range(len(transaction.REVERTIBLE) + 1):
        state = transactions.load(scope.environment, identity).state
        if state not in transaction.REVERTIBLE:
            return state == transaction.ROLLING_BACK
        if transactions.move(scope.environment, identity, state, transaction.ROLLING_BACK):
            return True
    return False


def observe(scope: Scope, identity: str) -> dict[str, Any]:
    """Where a transaction stands; nothing is changed and nobody is waited for."""
    if identity in transactions.states(scope.environment):
        return _result(scope, identity, {}, {})
    return _told(scope, identity, _forgotten(scope, identity), {}, {})


def abort(scope: Scope, identity: str) -> dict[str, Any]:
    """Give up a transaction that was staged and never armed."""
    with locked(scope):
        found = transactions.load(scope.environment, identity)
        if found.state == transaction.STAGED:
            _abort(scope, found)
    return _result(scope, identity, {}, {})


def abort_left(scope: Scope, identity: str) -> None:
    """Give up a transaction whose run died while it armed; a run that lives holds the lock, and may still arm."""
    with contextlib.suppress(TetraError), durable.lock(scope.environment.lock, timeout=0.0):
        found = transactions.load(scope.environment, identity)
        if found.state == transaction.STAGED and transactions.seconds_left(scope.environment, identity) <= 0:
            _abort(scope, found)


def abort_staged(scope: Scope) -> None:
    """Give up what earlier runs staged and never armed; the caller holds the lock."""
    for found in transactions.in_states(scope.environment, (transaction.STAGED,)):
        _abort(scope, found)


def settle(scope: Scope) -> None:
    """Finish what a killed run left: reverts that nobody carries out, journal records. The caller holds the lock."""
    _sweep(scope)
    _settle_open(scope)
    _sweep_deadmen(scope)
    _check_journal(scope, most=1)
    for found in transactions.unwritten(scope.environment, journal.read(scope.environment)):
        if found.state == transaction.CONFIRMED:
            _finish_confirmed(scope, found)
        else:
            _journal(scope, found, found.state, Cause("written after an interruption", verdict=False))
    _try_ports_again(scope)


def _settle_open(scope: Scope) -> None:
    """Take back what is over, if its deadman did not yet; the caller holds the lock."""
    for found in transactions.in_states(scope.environment, transaction.OPEN):
        if transaction.is_over(transactions.standing(scope.environment, found)):
            begin_revert(scope, found.identity)
            _finish_revert(scope, transactions.load(scope.environment, found.identity), EXPIRED)


def _sweep(scope: Scope) -> None:
    """Remove what killed runs left half-written; where other environments of the host write, too, only what is old."""
    scope.environment.sweep()
    durable.sweep(scope.home.config, _ABANDONED)
    scope.supervisor.sweep(_ABANDONED)


def _try_ports_again(scope: Scope) -> None:
    """Put the registry back when the last transaction could not, before another one goes by what it says."""
    if transactions.in_states(scope.environment, (transaction.STAGED, *transaction.OPEN)):
        # What it has reserved since counts; it was staged after the registry had been put back.
        return
    ended = [record for record in journal.read(scope.environment) if record["kind"] == "transaction"]
    last = ended[-1]["transaction"] if ended else ""
    if transactions.states(scope.environment).get(last) == transaction.ROLLBACK_FAILED:
        _restore_ports(scope, transactions.load(scope.environment, last).record)


def _sweep_deadmen(scope: Scope) -> None:
    """Forget the deadmen of transactions that ended; one that carried out a revert could not remove itself."""
    known = transactions.states(scope.environment)
    ended = [name for name, state in known.items() if not transaction.TRANSITIONS[state]]
    scope.supervisor.disarm(map(scope.deadman_unit, ended))


def locked(scope: Scope) -> contextlib.AbstractContextManager[None]:
    """The lock under which one run at a time changes an environment on this host."""
    return durable.lock(scope.environment.lock, timeout=_LOCK_TIMEOUT)


def check_no_open_transaction(scope: Scope) -> None:
    """Refuse to go on while another transaction is between two releases.

    :raises TetraError: code ``refused``, naming the transaction, its owner and its age.
    """
    for found in transactions.in_states(scope.environment, transaction.OPEN):
        age = transactions.age(scope.environment, found)
        raise TetraError(
            f"transaction {found.identity} of {found.record['actor']} is {found.state} since {age:.0f} s",
            hint="it ends by itself when its lease is over; then run again",
            code=REFUSED,
        )


def check_base(scope: Scope, part: Mapping[str, Any]) -> None:
    """Refuse to go on from another state of this host than the one that a plan was made for.

    :param part: the host's part of the plan.
    :raises TetraError: code ``refused``, with what was expected and what is.
    """
    current = store.current(scope.environment)
    epoch = journal.head(scope.environment)["seq"]
    if current != part["from"] or epoch != part["epoch"]:
        raise TetraError(
            f"the base moved: the plan was made for {(part['from'] or 'nothing')[:12]} at epoch {part['epoch']}, "
            f"the host is at {(current or 'nothing')[:12]}, epoch {epoch}",
            hint="somebody else went on in the meantime; run again to plan from what runs now",
            code=REFUSED,
        )


def _check_staged(scope: Scope, found: Transaction) -> None:
    if found.state != transaction.STAGED:
        raise TetraError(
            f"transaction {found.identity} is {found.state}, not staged",
            hint="somebody else went on in the meantime; run the promotion again",
            code=REFUSED,
        )
    check_no_open_transaction(scope)
    if store.current(scope.environment) != found.record["from"]:
        raise TetraError(
            f"the base moved: this host no longer runs {str(found.record['from'])[:12]}",
            hint="run the promotion again; it will plan from what runs now",
            code=REFUSED,
        )
    differing = store.verify_release(scope.environment, found.record["to"])
    if differing:
        raise TetraError(
            f"release {found.record['to'][:12]} was changed on the host: {', '.join(differing[:5])}",
            hint="run the promotion again; it will lay the release anew",
            code=REFUSED,
        )


def _red_before(scope: Scope, actions: Mapping[str, str]) -> set[str]:
    """The services whose check fails already; they are reported and do not block."""
    restarting = [name for name, action in actions.items() if action == plan.RESTART]
    # What cannot be checked because its launch file is damaged may well be fine.
    changing = [name for name in restarting if running.started_with(scope, name)["digest"] != running.UNKNOWN]
    return {name for name, sample in probing.check_once(scope, changing).items() if not sample.ok}


def _arm(scope: Scope, found: Transaction) -> None:
    identity = found.identity
    scope.supervisor.ensure_running()
    evidence.keep_edited(scope, identity)
    remake(scope, found.record["from"], identity)
    transactions.sign(scope.environment, identity, transactions.HOLDER)
    lease = found.record["lease"]
    most = transaction.longest(lease, len(found.record["plan"]["batches"]))
    transactions.write_lease(scope.environment, identity, lease, most)
    if not scope.supervisor.arm(_deadman(scope, identity), lease, lambda: _is_watched(scope, identity)):
        raise TetraError(
            f"the revert of transaction {identity} could not be armed, so nothing was switched",
            hint=f"look at {_deadman_log(scope, identity)}",
            code=REFUSED,
        )
    # Only now: whoever finds an armed transaction may rely on a deadman that watches it.
    transactions.move(scope.environment, identity, transaction.STAGED, transaction.ARMED)


def _is_watched(scope: Scope, identity: str) -> bool:
    """Whether the deadman lives and has signed, which it does once it has loaded and read all that it needs."""
    watcher = transactions.signed(scope.environment, identity, transactions.WATCHER)
    return watcher is not None and processes.lives(watcher)


def _deadman(scope: Scope, identity: str) -> UnitSpec:
    return UnitSpec(
        unit=scope.deadman_unit(identity),
        argv=[running.agent_file(scope), "deadman", scope.home.root, scope.org, scope.env, identity],
        log=_deadman_log(scope, identity),
        stop_timeout=5.0,
        restart="on-failure",
        max_restarts=_NEVER_GIVE_UP,
        owner=f"{scope.org}/{scope.env}/{identity}",
    )


def _deadman_log(scope: Scope, identity: str) -> str:
    return os.path.join(scope.environment.logs, f"deadman.{identity}.log")


def _disarm(scope: Scope, identity: str) -> None:
    """Forget the deadman of a transaction that ended; one that cannot be sees for itself that nothing is left to do."""
    with contextlib.suppress(TetraError, OSError):
        scope.supervisor.disarm([scope.deadman_unit(identity)])


def _switch(scope: Scope, found: Transaction, drifted: Collection[str]) -> str | None:
    """Switch under the lock; what went wrong, or None."""
    try:
        running.switch(scope, found.record["to"], drifted)
    except TetraError as error:
        return str(error)
    for state, following in ((transaction.ARMED, transaction.ACTIVATED), (transaction.ACTIVATED, transaction.PROBING)):
        transactions.move(scope.environment, found.identity, state, following)
    return None


def _watch(scope: Scope, found: Transaction, actions: Mapping[str, str]) -> dict[str, probing.Report]:
    started = [name for name, action in actions.items() if action in (plan.START, plan.RESTART)]
    policy = found.record["probe"]

    def time_left() -> float:
        if transactions.load(scope.environment, found.identity).state != transaction.PROBING:
            return 0.0
        # What is left is for the way of the answers, until the lease is renewed or the host confirmed.
        reserve: float = max(_LEASE_RESERVE, found.record["lease"] / 5)
        return transactions.seconds_left(scope.environment, found.identity) - reserve

    return probing.watch(scope, started, policy["passes"], policy["spacing"], time_left)


def remake(scope: Scope, release: str | None, identity: str) -> None:
    """Make sure that a release can be gone back to: lay anew from its blobs what was edited in its tree."""
    if release is not None:
        manifest = store.manifest(scope.environment, release)
        store.add_release(scope.environment, manifest, evidence.edited(scope, identity))


def _finish_revert(scope: Scope, found: Transaction, cause: Cause) -> None:
    record = found.record
    evidence.collect(scope, found, dataclasses.asdict(cause))
    state, detail = transaction.ROLLED_BACK, cause
    try:
        remake(scope, record["from"], found.identity)
        done = running.switch(scope, record["from"])
        _restore_ports(scope, record)
        broken = _broken_after_revert(scope, record, done)
    except TetraError as error:
        broken = str(error)
    if broken:
        state = transaction.ROLLBACK_FAILED
        detail = dataclasses.replace(cause, reason=f"{cause.reason}; going back failed: {broken}")
    if cause.verdict:
        _put_on_hold(scope, record["bundle"], found.identity, cause)
    _end(scope, found, state, detail)


def _broken_after_revert(scope: Scope, record: Mapping[str, Any], done: Mapping[str, str]) -> str:
    started = [name for name, action in done.items() if action in (plan.START, plan.RESTART)]
    end = time.monotonic() + _PROBE_LIMIT_OF_A_REVERT
    policy = record["probe"]
    reports = probing.watch(
        scope, started, policy["passes"], policy["spacing"], lambda: end - time.monotonic()
    )
    return "; ".join(f"{name}: {report.reason}" for name, report in reports.items() if report.verdict != health.HEALTHY)


def _put_on_hold(scope: Scope, bundle: str, identity: str, cause: Cause) -> None:
    holds.put(scope.environment, bundle, {"transaction": identity, "reason": cause.reason, "check": cause.check})


def _finish_confirmed(scope: Scope, found: Transaction) -> None:
    record = found.record
    cause = Cause(record["reason"], verdict=False)
    if record["action"] == "rollback" and record["from_bundle"]:
        _put_on_hold(scope, record["from_bundle"], found.identity, Cause(f"rolled back by {record['actor']}", True))
    _give_up_ports(scope, record)
    _journal(scope, found, transaction.CONFIRMED, cause)
    _disarm(scope, found.identity)
    # It is confirmed, even if the disk keeps what nobody needs any more; the next confirmation removes that, too. What
    # cannot be read stays, and all that it may need.
    with contextlib.suppress(TetraError, OSError):
        # What an agent that knew no pins has staged lacks them.
        retain(scope, record["keep"], record.get("pinned", ()))


def _give_up_ports(scope: Scope, record: Mapping[str, Any]) -> None:
    """Free the ports that the release before had and this one has not."""
    try:
        after = running.ports(scope, record["to"])
        gone = [key for key in running.ports(scope, record["from"]) if key not in after]
    except TetraError:
        # While a manifest is damaged nobody knows what is needed no more; it stays registered.
        return
    if gone or record["ports_before"]:
        # A host that goes forward does not wait until the registry is loaded.
        from . import reservations

        reservations.settle(scope, gone)


def _decided(scope: Scope, identity: str) -> list[str]:
    """The hosts that a decision was made for. One that cannot be read must not keep a host from what comes next."""
    try:
        decision = transactions.decision(scope.environment, identity) or {}
    except TetraError:
        return []
    return list(decision.get("hosts", []))


def retain(scope: Scope, keep: int, pinned: Sequence[str] = (), coming: Mapping[str, Any] | None = None) -> None:
    """Remove releases that nobody can go back to: all but the newest confirmed ones and what a process still uses.

    :param keep: how many confirmed releases stay.
    :param pinned: how the names of others begin that stay.
    :param coming: the request of a release that is about to be staged; what the host has of it stays.
    """
    confirmed: list[str] = []
    for record in reversed(journal.read(scope.environment)):
        if record.get("outcome") == transaction.CONFIRMED and record["to"] not in confirmed:
            confirmed.append(record["to"])
    keep_releases = set(confirmed[:keep]) | {store.current(scope.environment)}
    keep_releases |= {running.started_with(scope, name)["release"] for name in scope.environment.services()}
    keep_releases |= {name for name in store.release_digests(scope.environment) if name.startswith(tuple(pinned))}
    # A confirmation may be finished late, when the next release is staged already.
    waiting = transactions.in_states(scope.environment, (transaction.STAGED, *transaction.OPEN))
    keep_releases |= {found.record["to"] for found in waiting}
    bundles: set[str] = set()
    blobs: set[str] = set()
    if coming:
        keep_releases.add(coming["plan"]["release"])
        bundles.add(coming["plan"]["bundle"])
        manifests = [coming[kind] for kind in ("bundle", "manifest") if coming[kind]]
        blobs.update(digest for manifest in manifests for digest in release.blobs(manifest))
    store.prune(scope.environment, filter(None, keep_releases), bundles, blobs)
    _forget_ended(scope)


def forget_failures(scope: Scope, coming: Mapping[str, Any]) -> None:
    """Remove what attempts left that came to nothing, so that however many there are a disk does not fill up.

    A confirmation would do so, too, but there may be none for long.

    :param coming: the request of the next attempt.
    """
    ended = transactions.states(scope.environment).values()
    if any(state in transaction.IN_VAIN for state in ended):
        # What cannot be read or removed is no reason to refuse what may mend it.
        with contextlib.suppress(TetraError, OSError):
            retain(scope, coming["keep"], coming["pinned"], coming)


def _forget_ended(scope: Scope) -> None:
    """Forget transactions that ended long ago and are in the journal; evidence stays while a hold names it."""
    written = {record.get("transaction"): record["seq"] for record in journal.read(scope.environment)}
    known = transactions.states(scope.environment)
    # Their names begin with the time of whichever controller it was; only the journal knows which was the last.
    ended = sorted((identity for identity, state in known.items() if not transaction.TRANSITIONS[state]),
                   key=lambda identity: written.get(identity, 0))  # fmt: skip
    old = ended[:-_KEPT_TRANSACTIONS]
    aborted = {identity for identity in old if known[identity] == transaction.ABORTED}
    forgotten = (set(old) & set(written)) | aborted
    for identity in forgotten:
        durable.remove(_deadman_log(scope, identity))
    transactions.prune(scope.environment, forgotten)
    held = {hold["transaction"] for hold in holds.read(scope.environment).values()}
    evidence.prune(scope, held | set(ended[-_KEPT_TRANSACTIONS:]) | set(known) - set(ended))


def _abort(scope: Scope, found: Transaction) -> None:
    _restore_ports(scope, found.record)
    transactions.move(scope.environment, found.identity, transaction.STAGED, transaction.ABORTED)


def _restore_ports(scope: Scope, record: Mapping[str, Any]) -> None:
    # A host that goes forward does not wait until the registry is loaded.
    from . import reservations

    reservations.restore(scope, record["ports_before"])


def _end(scope: Scope, found: Transaction, state: str, cause: Cause) -> None:
    # A journal that cannot be written must not keep the host between two releases; settle writes the record later.
    with contextlib.suppress(TetraError, OSError):
        _journal(scope, found, state, cause)
    transactions.move(scope.environment, found.identity, transaction.ROLLING_BACK, state)


def _journal(scope: Scope, found: Transaction, state: str, cause: Cause) -> None:
    record = found.record
    if _is_written(scope, found.identity):
        return
    _check_journal(scope, found.identity)
    journal.append(
        scope.environment,
        {
            "kind": "transaction",
            "transaction": found.identity,
            "action": record["action"],
            "outcome": state,
            "from": record["from"],
            "to": record["to"],
            "bundle": record["bundle"],
            "actor": record["actor"],
            "reason": record["reason"],
            "detail": cause.reason if state != transaction.CONFIRMED else "",
            "check": cause.check,
            "plan": record["plan_id"],
            "heads": record["heads"],
            # Who is to have such a record, too.
            "hosts": _decided(scope, found.identity) if state == transaction.CONFIRMED else [],
            "time": now(),
            "seconds": round(transactions.age(scope.environment, found), 1),
        },
    )


def _is_written(scope: Scope, identity: str) -> bool:
    return any(old.get("transaction") == identity for old in journal.read(scope.environment))


def now() -> str:
    """The time for journals, in UTC."""
    return utc(time.time())


def utc(seconds: float) -> str:
    """A time of the clock in the form of journals."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _revert_result(
    scope: Scope, identity: str, cause: Cause, actions: Mapping[str, str], reports: Mapping[str, Any]
) -> dict[str, Any]:
    return {**revert(scope, identity, cause), "services": dict(actions), "reports": dict(reports)}


def _result(scope: Scope, identity: str, actions: Mapping[str, str], reports: Mapping[str, Any]) -> dict[str, Any]:
    return _told(scope, identity, transactions.load(scope.environment, identity).state, actions, reports)


def _forgotten(scope: Scope, identity: str) -> str:
    """How a transaction ended that is no longer kept; one that the journal does not know was given up or never came.

    Whoever stood still for long may ask for one, when others went on meanwhile.
    """
    ended = [record["outcome"] for record in journal.read(scope.environment)
             if record["kind"] == "transaction" and record["transaction"] == identity]
    return str(ended[-1]) if ended else transaction.ABORTED


def _told(
    scope: Scope, identity: str, state: str, actions: Mapping[str, str], reports: Mapping[str, Any]
) -> dict[str, Any]:
    # Of a journal that is damaged, too: what became of the transaction is true all the same.
    records, _damage = journal.examine(scope.environment)
    last: Mapping[str, Any] = next((old for old in reversed(records) if old.get("transaction") == identity), {})
    return {
        "transaction": identity,
        "state": state,
        "release": store.current(scope.environment),
        "services": dict(actions),
        "reports": dict(reports),
        "detail": last.get("detail", ""),
        "check": last.get("check", ""),
        "evidence": evidence.path(scope, identity) if evidence.exists(scope, identity) else "",
    }

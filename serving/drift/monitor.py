"""Keeps the drift result of a running service up to date.

    monitor = DriftMonitor(slot, DriftStore(url), plan)
    monitor.start()
    monitor.status().result
    monitor.stop()

A thread reads the database every few seconds. When the newest result is stale and there are new observations,
the first replica to take the lease starts the process that computes the next one. Requests read the thread's
last status and never wait for the database.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, replace

from serving.drift.result import DriftRequest, DriftResult, WindowRule
from serving.drift.runner import TIMEOUT_S, compute_in_process
from serving.drift.store import DriftStore, ModelKey
from serving.errors import ServingError
from serving.errors.operation import DriftFailed, DriftUnknown, TimesAhead, WindowTooSmall
from serving.inference.model_slot import LiveModel, ModelSlot
from serving.observations.sampling import AHEAD_S

_log = logging.getLogger(__name__)
_LOOK_S = 2.0
LEASE_S = TIMEOUT_S + 60.0
"""Longer than any computation; a replica that ends while it holds the lease delays the next by this."""
_OFF = "drift is not computed: MIEN_DRIFT is false"
_SOON = "the first result is being computed"
_UNCHECKED = "the observations of this version have not been counted yet"


class _ResultPending(DriftUnknown):
    """The first result is being computed; nothing is wrong."""

    def __init__(self) -> None:
        super().__init__(_SOON)


class _NoVerdict(DriftUnknown):
    """The newest stored result has no verdict."""

    def __init__(self, result: DriftResult) -> None:
        self.problem = result.problem
        super().__init__(result.reason)


class _TwoProblems(DriftUnknown):
    """Two problems at once."""

    def __init__(self, first: ServingError, second: ServingError) -> None:
        self.problems = first, second
        super().__init__(f"{first}; {second}")


@dataclass(frozen=True, kw_only=True)
class DriftPlan:
    """Parameters of the drift computation, and its interval."""

    database_url: str
    window: WindowRule
    false_alarms: float
    pictures_per_person: float | None
    stale_s: float
    """Age at which a result is computed again, seconds."""
    retention_s: float
    """Age at which results are deleted, seconds."""
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class DriftStatus:
    """Drift status of the live model."""

    result: DriftResult | None
    """The newest result with a verdict; None without one."""
    problem: str | None
    """Why there is no result, or no newer one; None without a problem."""
    stale: bool = False
    """Whether the result is older than it should be."""
    model: ModelKey | None = None
    """The live model; None when there is none."""
    computing_since: float | None = None
    """Start of a computation in this process or another one, seconds since 1970; None without one."""
    checked_at: float | None = None
    """When this process last looked at the observations, seconds since 1970; None if it never did."""


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What one look at the database found."""

    result: DriftResult | None
    """The newest result with a verdict."""
    problem: ServingError | None
    """Why there is no result, or no newer one."""
    computing_since: float | None
    """Start of a running computation, seconds since 1970; None without one."""


class DriftMonitor:
    """Drift monitor of one worker."""

    def __init__(self, slot: ModelSlot, ledger: DriftStore, plan: DriftPlan) -> None:
        """Create the monitor; call `start` to begin."""
        self._slot = slot
        self._ledger = ledger
        self._plan = plan
        self._status = DriftStatus(result=None, problem=_UNCHECKED if plan.enabled else _OFF)
        self._checked_at: float | None = None
        self._logged: tuple[str, ...] = ()
        """Kind of the last problem."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)

    def start(self) -> None:
        """Start the thread, unless drift is switched off."""
        if self._plan.enabled:
            self._thread.start()

    def stop(self) -> None:
        """End the thread and a computation in progress."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._ledger.close()

    def status(self) -> DriftStatus:
        """Return the last status of the live model."""
        live = self._slot.current
        if live is None:
            return DriftStatus(result=None, problem=self._slot.reason)
        if self._plan.enabled and self._status.model not in (None, _model(live)):
            return DriftStatus(result=None, problem=_UNCHECKED, model=_model(live))
        known = self._status
        return replace(known, stale=known.result is not None and self._is_stale(known.result))

    def report(self) -> bytes | None:
        """Return the report page of the live model's newest verdict, HTML in UTF-8.

        Raises:
            NotReady: no model is live.
            StoreUnavailable: the database is unreachable.
        """
        return self._ledger.report(_model(self._slot.require()))

    def _run(self) -> None:
        while not self._ending.is_set():
            live = self._slot.current
            if live is not None:
                self._look_safely(live)
            self._ending.wait(min(_LOOK_S, self._plan.stale_s))

    def _look_safely(self, live: LiveModel) -> None:
        try:
            look = self._look(live)
        except ServingError as error:
            look = _Look(result=self._known(live), problem=error, computing_since=None)
        except Exception:
            failed = DriftFailed(reason="the log has the cause")
            look = _Look(result=self._known(live), problem=failed, computing_since=None)
            if self._logged != _kind_of(look.problem):
                # Logged once, not at every look; no error may end this thread.
                _log.exception("the drift result could not be updated")
        self._publish(live, look)

    def _look(self, live: LiveModel) -> _Look:
        """Compute a result if one is due; return the newest with a verdict, and why there is no newer one."""
        model, now = _model(live), time.time()
        newest, ahead = self._ledger.newest(model), self._ledger.ahead(model)
        is_due = self._is_stale(newest) and self._has_news(model, newest)
        too_few = self._too_few(model) if is_due else None
        self._checked_at = now
        computing_since = None
        if is_due and too_few is None:
            is_ours = self._compute_unless_another_does(live, ahead)
            newest = self._ledger.newest(model)
            if not is_ours and self._is_stale(newest):
                computing_since = self._ledger.leased_since(now=time.time(), lasts_s=LEASE_S)
        result, problem = self._found(model, newest)
        return _Look(
            result=result, problem=_joined(too_few or problem, ahead), computing_since=computing_since
        )

    def _found(
        self, model: ModelKey, newest: DriftResult | None
    ) -> tuple[DriftResult | None, ServingError | None]:
        """Return the newest result with a verdict, and why the newest one of all is not that."""
        if newest is None:
            return None, _ResultPending()
        if newest.verdict != "unknown":
            return newest, None
        return self._ledger.newest(model, verdict=True), _NoVerdict(newest)

    def _compute_unless_another_does(self, live: LiveModel, ahead: TimesAhead | None) -> bool:
        """Compute a result under the lease; True if this replica computed it."""
        if not self._ledger.acquire(now=time.time(), lasts_s=LEASE_S):
            return False
        try:
            # Another replica may have finished between the look and the lease.
            newest = self._ledger.newest(_model(live))
            if not self._is_stale(newest):
                return False
            result, problem = self._found(_model(live), newest)
            look = _Look(result=result, problem=_joined(problem, ahead), computing_since=time.time())
            self._publish(live, look)
            self._compute(live)
            return True
        finally:
            self._ledger.release()

    def _known(self, live: LiveModel) -> DriftResult | None:
        """Return the previous result of this model."""
        return self._status.result if self._status.model == _model(live) else None

    def _publish(self, live: LiveModel, look: _Look) -> None:
        """Set the status, and log a new problem or another verdict."""
        before, model, problem = self._status, _model(live), look.problem
        sentence = None if problem is None else str(problem)
        self._status = DriftStatus(
            result=look.result,
            problem=sentence,
            model=model,
            computing_since=look.computing_since,
            checked_at=self._checked_at,
        )
        previous, self._logged = self._logged, _kind_of(problem)
        if problem is not None and self._logged != previous:
            # A service that has just started has few observations; this does not deserve a warning.
            usual = isinstance(problem, WindowTooSmall | _ResultPending)
            _log.log(logging.INFO if usual else logging.WARNING, "%s", sentence)
        result = look.result
        if result is not None and (before.result is None or before.result.verdict != result.verdict):
            level = logging.WARNING if result.verdict == "drift" else logging.INFO
            _log.log(level, "version %s: %s: %s", model.version, result.verdict, result.reason)

    def _is_stale(self, result: DriftResult | None) -> bool:
        # A result from the future (the clock was set back) would count as fresh until that time.
        return result is None or not -AHEAD_S < time.time() - result.time < self._plan.stale_s

    def _has_news(self, model: ModelKey, newest: DriftResult | None) -> bool:
        """Whether there are observations newer than the newest result's window."""
        if newest is None or newest.window is None:
            return True
        seen = self._ledger.newest_observation(model)
        return seen is not None and seen > newest.window.until

    def _too_few(self, model: ModelKey) -> WindowTooSmall | None:
        """Return why the window is too small, if it is, so that no process is started in vain."""
        rule = self._plan.window
        since = None if rule.last_s is None else time.time() - rule.last_s
        rows = self._ledger.count(model, up_to=rule.min_rows, since=since)
        if rows >= rule.min_rows:
            return None
        return WindowTooSmall(got=rows, expected=rule.min_rows, version=model.version)

    def _compute(self, live: LiveModel) -> None:
        plan, identity = self._plan, live.identity
        request = DriftRequest(
            database_url=plan.database_url,
            model_folder=str(live.folder),
            model_version=identity.version,
            model_sha256=identity.sha256,
            window=plan.window,
            false_alarms=plan.false_alarms,
            pictures_per_person=plan.pictures_per_person,
        )
        with compute_in_process(request, ending=self._ending) as done:
            if self._ending.is_set():
                return
            html = done.html.read_bytes() if done.html is not None else None
            self._ledger.keep(done.result, html=html, retention_s=plan.retention_s)


def _joined(problem: ServingError | None, ahead: TimesAhead | None) -> ServingError | None:
    """Combine two problems into one."""
    if problem is None or ahead is None:
        return problem or ahead
    return _TwoProblems(problem, ahead)


def _model(live: LiveModel) -> ModelKey:
    return ModelKey(version=live.identity.version, sha256=live.identity.sha256)


def _kind_of(problem: ServingError | None) -> tuple[str, ...]:
    """Class of a problem and its facts that are texts: its counts change with every request."""
    if problem is None:
        return ()
    if isinstance(problem, _TwoProblems):
        return tuple(part for one in problem.problems for part in _kind_of(one))
    facts = [value for value in vars(problem).values() if isinstance(value, str)]
    return (type(problem).__name__, *facts)

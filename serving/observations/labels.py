"""Labels that people give to kept pictures: what is offered next, what was given, what they agree on.

    store = LabelStore("sqlite:///observations.db", needed=2)
    tasks = store.next_tasks("anna", since=…, limit=10, exists=folder.exists)
    store.put(Label(observation_id=tasks[0].id, labeller="anna", time=…, label="sad"))

A person gets no picture twice, and a picture is offered until people agree on it or it is disputed
(`serving.observations.consensus`). Pictures that others began come first, then what
`serving.observations.ranking` chooses.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Double,
    RowMapping,
    Select,
    String,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from serving.contract import Box
from serving.errors.requests import ObservationUnknown
from serving.observations.consensus import (
    SKIP,
    ConsensusStatus,
    consensus_of,
    krippendorff_alpha,
    max_labels,
)
from serving.observations.database import Database
from serving.observations.ranking import Embeddings, choose_next, informativeness, stack_embeddings
from serving.observations.sampling import AHEAD_S
from serving.observations.schema import (
    feedback,
    labels,
    latest_feedback,
    models,
    observations,
    read_other_faces,
)

CANDIDATES = 2000
"""Newest pictures without labels that are ranked; more would take longer than a person waits."""
_CENTRES = 500
# Of the disputed pictures, the newest ones: somebody is to look at each.
_DISPUTED = 100
_BOX = tuple(observations.c[f"face_{side}"] for side in ("left", "top", "width", "height"))


@dataclass(frozen=True, kw_only=True)
class Label:
    """One person's label of one picture; a second one by the same person replaces it."""

    observation_id: str
    labeller: str
    """Name of the person, at most 128 characters."""
    time: float
    """Seconds since 1970 (UTC)."""
    label: str
    """A class of the model, `NOT_A_FACE` or `SKIP`."""


@dataclass(frozen=True, kw_only=True)
class LabelTask:
    """A kept picture that a person is asked to label."""

    id: str
    """Id of the answer."""
    time: float
    """When it was answered, seconds since 1970 (UTC)."""
    classes: tuple[str, ...]
    """Of the model that answered, in its order."""


@dataclass(frozen=True, kw_only=True)
class DisputedPicture:
    """A picture on which people do not agree."""

    id: str
    labels: Mapping[str, int]
    """Label → number of people."""


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """All labels together."""

    pictures: Mapping[ConsensusStatus, int]
    """Number of pictures with at least one label."""
    agreed: Mapping[str, int]
    """Agreed label → number of pictures."""
    labels: int
    """Number of labels, without skips."""
    skips: int
    labellers: int
    """Number of people with at least one label."""
    alpha: float | None
    """Krippendorff's alpha; None where it is undefined."""
    disputed: Sequence[DisputedPicture]
    """The newest ones."""


@dataclass(frozen=True, kw_only=True)
class LabelledPicture:
    """A face of a kept picture whose true emotion is known: agreed on by labellers, or sent as feedback."""

    id: str
    """Id of the answer."""
    picture: str
    """Name inside the folder of kept pictures."""
    face: int = 0
    """Index in the answer's faces; 0: the largest face, or the whole picture."""
    box: Box | None
    """The face, left, top, width, height in px; None: the whole picture."""
    emotion: str
    """The agreed label, `NOT_A_FACE` included; without one, the true emotion from the last feedback."""


class LabelStore:
    """Reads and writes labels; methods are thread-safe and block while the database works."""

    def __init__(self, url: str, *, needed: int) -> None:
        """Create the store; the database is opened at the first call.

        Args:
            url: URL of the observation database.
            needed: number of equal labels that decide about a picture, at least 1.

        Raises:
            StoreUrlInvalid: another kind of database, or not a URL.
        """
        self._database = Database(url)
        self._needed = needed
        self._insert = sqlite.insert if self._database.dialect == "sqlite" else postgresql.insert

    def next_tasks(
        self, labeller: str, *, since: float, limit: int, exists: Callable[[str], bool] = lambda name: True
    ) -> list[LabelTask]:
        """Return pictures that this person should label next, the most useful first.

        Args:
            labeller: name of the person.
            since: earliest time of an answer whose picture is still kept, seconds since 1970 (UTC).
            limit: maximum number of pictures.
            exists: whether the picture of this name is still there.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        state = _votes().subquery()
        query = self._offered(labeller, since, state).limit(CANDIDATES)
        newest = observations.c.time.desc(), observations.c.id
        begun = query.where(state.c.total > 0).order_by(state.c.total.desc(), *newest)
        new = query.where(state.c.total.is_(None)).order_by(*newest)
        with self._database.opened() as connection:
            rows = connection.execute(begun).mappings()
            tasks = [_task(row) for row in rows if exists(row["picture"])][:limit]
            if len(tasks) == limit:
                return tasks
            found = [row for row in connection.execute(new).mappings() if exists(row["picture"])]
            labelled = connection.execute(_centres()).mappings().all()
        chosen = choose_next(
            _embeddings(found), _scores(found), labelled=_embeddings(labelled), limit=limit - len(tasks)
        )
        return tasks + [_task(found[row]) for row in chosen]

    def put(self, label: Label) -> None:
        """Store a person's label of a stored answer, in place of the same person's earlier one.

        Raises:
            ObservationUnknown: no such answer is stored.
            StoreUnavailable: the database is unreachable.
        """
        # One statement: an answer that is deleted at this moment leaves no label behind.
        known = select(
            observations.c.id,
            literal(label.labeller, String),
            literal(label.time, Double),
            literal(label.label, String),
        ).where(observations.c.id == label.observation_id)
        insert = self._insert(labels).from_select(["observation_id", "labeller", "time", "label"], known)
        replace = insert.on_conflict_do_update(
            index_elements=["observation_id", "labeller"],
            set_={"time": insert.excluded.time, "label": insert.excluded.label},
        ).returning(labels.c.observation_id)
        with self._database.opened() as connection:
            stored = connection.execute(replace).all()
        if not stored:
            raise ObservationUnknown(id=label.observation_id)

    def withdraw(self, id: str, labeller: str) -> bool:
        """Delete a person's label of an answer; whether there was one.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        which = and_(labels.c.observation_id == id, labels.c.labeller == labeller)
        with self._database.opened() as connection:
            return bool(connection.execute(delete(labels).where(which)).rowcount)

    def count(self, labeller: str) -> int:
        """Return the number of pictures that a person has labelled, without those that were skipped.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        query = select(func.count()).where(labels.c.labeller == labeller, labels.c.label != SKIP)
        with self._database.opened() as connection:
            return connection.scalar(query) or 0

    def summary(self) -> LabelSummary:
        """Return counts, agreement and the disputed pictures.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        with self._database.opened() as connection:
            rows = connection.execute(select(labels).order_by(labels.c.observation_id)).mappings().all()
        units = _by_picture(rows)
        results = {id: consensus_of(values, needed=self._needed) for id, values in units.items()}
        total = sum(len(values) for values in units.values())
        # Ids sort by time.
        disputed = [id for id, result in results.items() if result.status == "disputed"][::-1]
        return LabelSummary(
            pictures={
                status: sum(result.status == status for result in results.values())
                for status in ("open", "agreed", "disputed")
            },
            agreed=Counter(result.label for result in results.values() if result.label is not None),
            labels=total,
            skips=len(rows) - total,
            labellers=len({row["labeller"] for row in rows if row["label"] != SKIP}),
            alpha=krippendorff_alpha(units.values()),
            disputed=[DisputedPicture(id=id, labels=Counter(units[id])) for id in disputed[:_DISPUTED]],
        )

    def labelled_pictures(self) -> list[LabelledPicture]:
        """Return each face of the kept pictures whose true emotion is known, oldest picture first.

        Labels are of the largest face, or of the whole picture. An agreed one replaces its feedback, because
        several people looked at it; labels that are not agreed on change nothing.

        Raises:
            StoreUnavailable: the database is unreachable.
        """
        with_feedback = observations.c.id.in_(select(feedback.c.observation_id))
        which = and_(
            observations.c.picture.is_not(None),
            with_feedback | observations.c.id.in_(select(labels.c.observation_id)),
        )
        query = (
            select(observations.c.id, observations.c.picture, *_BOX, observations.c.other_faces)
            .where(which)
            .order_by(observations.c.time, observations.c.id)
        )
        with self._database.opened() as connection:
            rows = connection.execute(query).mappings().all()
            emotions = latest_feedback(connection, which)
            given = _by_picture(connection.execute(select(labels)).mappings().all())
        agreed = {
            id: label
            for id, values in given.items()
            if (label := consensus_of(values, needed=self._needed).label) is not None
        }
        return [
            face
            for row in rows
            for face in _labelled_faces(row, emotions.get(row["id"], {}), agreed.get(row["id"]))
        ]

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    def _offered(self, labeller: str, since: float, state: Any) -> Select[Any]:
        """Select kept pictures that are open and that this person has neither labelled nor skipped."""
        mine = select(labels.c.observation_id).where(labels.c.labeller == labeller)
        is_open = or_(
            state.c.total.is_(None),
            and_(state.c.most < self._needed, state.c.total < max_labels(self._needed)),
        )
        return (
            select(observations, models.c.classes)
            .join(models, _same_model())
            .outerjoin(state, state.c.observation_id == observations.c.id)
            .where(
                observations.c.picture.is_not(None),
                observations.c.time >= since,
                observations.c.time <= time.time() + AHEAD_S,
                observations.c.id.not_in(mine),
                # The client has said what the largest face shows.
                observations.c.id.not_in(select(feedback.c.observation_id).where(feedback.c.face == 0)),
                is_open,
            )
        )


def _by_picture(rows: Sequence[RowMapping]) -> dict[str, list[str]]:
    """Answer → its labels, skips left out."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["label"] != SKIP:
            found.setdefault(row["observation_id"], []).append(row["label"])
    return found


def _votes() -> Select[Any]:
    """Answer → number of labels (`total`) and of the most frequent one (`most`), skips left out."""
    counted = (
        select(labels.c.observation_id, func.count().label("votes"))
        .where(labels.c.label != SKIP)
        .group_by(labels.c.observation_id, labels.c.label)
        .subquery()
    )
    return select(
        counted.c.observation_id,
        func.sum(counted.c.votes).label("total"),
        func.max(counted.c.votes).label("most"),
    ).group_by(counted.c.observation_id)


def _centres() -> Select[Any]:
    """Select the newest pictures with labels: what is offered next is to be unlike these."""
    given = select(labels.c.observation_id).where(labels.c.label != SKIP)
    return (
        select(observations.c.model_sha256, observations.c.embedding)
        .where(observations.c.id.in_(given))
        .order_by(observations.c.time.desc(), observations.c.id)
        .limit(_CENTRES)
    )


def _same_model() -> ColumnElement[bool]:
    return and_(
        models.c.version == observations.c.model_version, models.c.sha256 == observations.c.model_sha256
    )


def _embeddings(rows: Sequence[RowMapping]) -> Embeddings:
    return stack_embeddings(
        [row["model_sha256"] for row in rows], [np.frombuffer(row["embedding"], "<f2") for row in rows]
    )


def _scores(rows: Sequence[RowMapping]) -> Any:
    def column(name: str) -> Any:
        return np.array([row[name] for row in rows], dtype=np.float64)

    return informativeness(
        entropy=column("entropy"),
        classes=np.array([len(row["probabilities"]) // 4 for row in rows], dtype=np.int64),
        novelty=column("novelty"),
        disagreement=column("disagreement"),
    )


def _task(row: RowMapping) -> LabelTask:
    return LabelTask(id=row["id"], time=row["time"], classes=tuple(json.loads(row["classes"])))


def _labelled_faces(
    row: RowMapping, emotions: Mapping[int, str], agreed: str | None
) -> Iterator[LabelledPicture]:
    """Yield the faces of one picture with feedback, and the largest one with an agreed label."""
    boxes = [_box(row), *(face.box for face in read_other_faces(row["other_faces"]))]
    for face, box in enumerate(boxes):
        emotion = agreed if agreed is not None and face == 0 else emotions.get(face)
        if emotion is not None:
            yield LabelledPicture(id=row["id"], picture=row["picture"], face=face, box=box, emotion=emotion)


def _box(row: RowMapping) -> Box | None:
    return None if row["face_left"] is None else cast(Box, tuple(row[column.name] for column in _BOX))

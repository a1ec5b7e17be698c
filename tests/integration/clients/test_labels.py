"""Labelling with both clients against the real service: tasks, pictures, labels, agreement, refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from mien_client import MienError
from mien_client.answers import Disputed, LabelStored, PicturesByStatus, Task
from mien_client.errors import AccessRefused, NotFound, RequestRefused
from serving.http.auth import hash_key
from serving.observations.consensus import NOT_A_FACE, SKIP
from tests.support.client_driver import Driver, Kind, driver
from tests.support.http_service import ready, serving, settings_in, until
from tests.support.onnx_models import CLASSES
from tests.support.pictures import colored, encoded
from tests.support.serving_models import model_folder

KINDS: tuple[Kind, ...] = ("sync", "async")
SCOPES = {"anna": "label", "ben": "label", "cleo": "label", "app": "predict", "ops": "admin"}
"""Name of a key, which is also its secret here → its scope."""
UNKNOWN = "0" * 32


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def service(tmp_path: Path) -> Iterator[httpx.Client]:
    """A service that keeps every picture."""
    model_folder(tmp_path / "model")
    keys = tuple(hash_key(name, scope, name) for name, scope in SCOPES.items())
    with serving(settings_in(tmp_path, keep_images=1.0, api_keys=keys)) as http:
        yield ready(http)


@pytest.fixture
def by(kind: Kind, service: httpx.Client) -> Iterator[Mapping[str, Driver]]:
    """A client for each key."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(driver(kind, str(service.base_url), api_key=name)) for name in SCOPES
        }


def kept(by: Mapping[str, Driver], number: int) -> str:
    """The id of an answer whose picture is kept, and in the database."""
    id: str = by["app"].detect(encoded(colored(number)), faces="none").id
    until(lambda: id in {task.id for task in by["cleo"].label_tasks().tasks})
    return id


def refused(client: Driver, name: str, *args: object, **kwargs: object) -> MienError:
    with pytest.raises(MienError) as caught:
        getattr(client, name)(*args, **kwargs)
    return caught.value


def test_three_people_label_what_the_service_offers(by: Mapping[str, Driver]) -> None:
    ids = {kept(by, number) for number in range(3)}
    first = by["anna"].label_tasks()
    assert (first.labeller, first.labelled) == ("anna", 0)
    assert {task.id for task in first.tasks} == ids
    assert all(isinstance(task, Task) and task.classes == CLASSES for task in first.tasks)
    assert all(task.time.utcoffset() is not None for task in first.tasks)
    assert len(by["anna"].label_tasks(limit=2).tasks) == 2

    one, two, three = (task.id for task in first.tasks)
    assert by["anna"].label(one, "sad") == LabelStored(id=one, label="sad", labeller="anna")
    by["anna"].label(two, NOT_A_FACE)
    by["anna"].label(three, SKIP)
    # A skip is not a label.
    assert by["anna"].label_tasks().labelled == 2
    by["ben"].label(one, "sad")
    by["ben"].label(two, "fear")
    by["cleo"].label(two, "happy")
    found = by["cleo"].labels()
    assert (found.needed, found.labels, found.skips, found.labellers) == (2, 5, 1, 3)
    assert found.pictures == PicturesByStatus(open=0, agreed=1, disputed=1)
    assert found.agreed == {"sad": 1}
    # By hand: of 5 labels two are `sad`, the others differ; 6 ordered pairs of `two` differ, weighed by 1/2.
    assert found.alpha == pytest.approx(1 - (5 - 1) * 3 / (5 * 5 - 2 * 2 - 3), abs=1e-6)
    assert found.disputed == (Disputed(id=two, labels={NOT_A_FACE: 1, "fear": 1, "happy": 1}),)


def test_agreement_is_undefined_without_labels(by: Mapping[str, Driver]) -> None:
    found = by["anna"].labels()
    assert (found.alpha, found.labels, found.agreed, found.disputed) == (None, 0, {}, ())
    assert by["anna"].label_tasks().tasks == ()


def test_the_picture_is_the_kept_one(by: Mapping[str, Driver]) -> None:
    picture = cv2.imdecode(np.frombuffer(by["anna"].label_picture(kept(by, 1)), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    sent = cv2.cvtColor(colored(1), cv2.COLOR_RGB2BGR)
    assert picture.shape == sent.shape
    # JPEG, quality 92
    assert np.abs(picture.astype(int) - sent).mean() < 8


def test_a_withdrawn_label_is_gone_and_a_second_one_replaces_the_first(by: Mapping[str, Driver]) -> None:
    id = kept(by, 1)
    by["anna"].label(id, "sad")
    assert by["anna"].label_tasks().tasks == ()
    assert by["anna"].withdraw_label(id) is None
    assert isinstance(refused(by["anna"], "withdraw_label", id), NotFound)
    assert [task.id for task in by["anna"].label_tasks().tasks] == [id]
    for label in ("fear", "sad"):
        by["anna"].label(id, label)
    by["ben"].label(id, "sad")
    assert by["ben"].labels().agreed == {"sad": 1}


def test_people_who_share_a_key_give_their_names(by: Mapping[str, Driver]) -> None:
    id = kept(by, 1)
    assert by["anna"].label(id, "sad", labeller="eve").labeller == "anna/eve"
    shared = by["anna"].label_tasks(labeller="eve")
    assert (shared.labeller, shared.labelled, shared.tasks) == ("anna/eve", 1, ())
    assert [task.id for task in by["anna"].label_tasks().tasks] == [id]
    assert isinstance(refused(by["anna"], "withdraw_label", id), NotFound)
    by["anna"].withdraw_label(id, labeller="eve")
    assert by["anna"].labels().labels == 0


def test_what_is_not_a_label_is_refused(by: Mapping[str, Driver]) -> None:
    id = kept(by, 1)
    for error in (
        refused(by["anna"], "label", id, "bored"),
        refused(by["anna"], "label", id, "sad", labeller="a b"),
        refused(by["anna"], "label_tasks", 21),
        refused(by["anna"], "label_tasks", labeller="a/b"),
    ):
        assert isinstance(error, RequestRefused)
        assert error.problem.type == "urn:mien:problem:bad-request"
    for error in (
        refused(by["anna"], "label", UNKNOWN, "sad"),
        refused(by["anna"], "label_picture", UNKNOWN),
    ):
        assert isinstance(error, NotFound)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("label_tasks", ()),
        ("label_picture", (UNKNOWN,)),
        ("label", (UNKNOWN, "sad")),
        ("withdraw_label", (UNKNOWN,)),
        ("labels", ()),
    ],
)
def test_labelling_needs_a_key_with_the_scope(
    by: Mapping[str, Driver], kind: Kind, service: httpx.Client, name: str, arguments: tuple[str, ...]
) -> None:
    error = refused(by["app"], name, *arguments)
    assert isinstance(error, AccessRefused)
    assert error.problem.type == "urn:mien:problem:forbidden"
    assert error.sent.attempts == 1
    with driver(kind, str(service.base_url)) as without_key:
        error = refused(without_key, name, *arguments)
    assert isinstance(error, AccessRefused)
    assert error.problem.type == "urn:mien:problem:unauthorized"
    # `admin` includes `label`.
    for other in ("anna", "ops"):
        client = by[other]
        if UNKNOWN in arguments:
            assert isinstance(refused(client, name, *arguments), NotFound)
        else:
            getattr(client, name)(*arguments)

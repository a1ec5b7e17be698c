"""Read and write records: JSON files that one stage writes and others read.

The type of a record is a frozen dataclass. `write_record` and `read_record` write and read all of them; a
file with a missing or unknown key or a wrong type is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, Field, ValidationError

from pipelines.core.errors import ResultCorrupt
from pipelines.core.io import write_json
from serving.errors import ContractError

_SHOWN = 60
"""Characters of a wrong value that a message shows."""

T = TypeVar("T")
OPTIONAL = Field(exclude_if=lambda value: value is None)
"""Annotation of a record's field whose key is absent where the value is None."""


def write_record(path: Path, record: object) -> None:
    """Write a record as canonical JSON, whole or not at all."""
    write_json(path, as_json(record))


def as_json(record: object) -> dict[str, object]:
    """Convert a record to JSON values; keys that are absent in its file are absent here."""
    file = _file_of(type(record)).model_construct(record=record)
    values: dict[str, object] = file.model_dump(mode="json", by_alias=True)["record"]
    return values


def read_record(path: Path, kind: type[T], *, stage: str) -> T:
    """Read what `write_record` wrote.

    Args:
        path: path of the file.
        kind: the dataclass.
        stage: name in `dvc.yaml` of the stage that writes the file, for the message.

    Raises:
        ResultCorrupt: the file is missing or not JSON, or a key is missing, unknown or of another type.
    """
    try:
        text = path.read_text(encoding="utf-8")
        record: T = _file_of(kind).model_validate_json(f'{{"record": {text}}}').record
    except OSError as error:
        raise ResultCorrupt(path=path, reason=error.strerror or str(error), stage=stage) from error
    except ValidationError as error:
        raise ResultCorrupt(path=path, reason=_reason(error), stage=stage) from error
    except (UnicodeDecodeError, ContractError) as error:
        raise ResultCorrupt(path=path, reason=str(error), stage=stage) from error
    return record


class _File(BaseModel, Generic[T], extra="forbid", strict=True, allow_inf_nan=False):
    """Makes the dataclass in `record` strict: Pydantic takes no settings for a dataclass itself."""

    record: T


def _file_of(kind: type[T]) -> type[_File[T]]:
    return _File[kind]  # type: ignore[valid-type]  # mypy does not know types that are values


def _reason(error: ValidationError) -> str:
    """Say in one sentence what is wrong with a file, naming the key."""
    found = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in found["loc"][1:])
    match found["type"]:
        case "json_invalid":
            return f"not JSON ({found['ctx']['error']})"
        case "missing":
            return f"no key {key!r}"
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"unknown key {key!r}"
        case "dataclass_type":
            expected = "an object"
        case _:
            expected = found["msg"].removeprefix("Input should be ")
    return f"{f'key {key!r} is' if key else 'it holds'} {found['input']!r:.{_SHOWN}}, not {expected}"

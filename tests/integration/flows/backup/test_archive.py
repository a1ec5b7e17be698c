"""Archives that are not what they should be are refused."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.backup.archive import Manifest
from flows.backup.restore import restore
from flows.errors import BackupError
from tests.support.backups import (
    Saved,
    listing,
    manifest_of,
)
from tests.support.dvc_project import REPOSITORY


def rebuilt(
    archive: Path,
    to: Path,
    *,
    manifest: Callable[[dict[str, Any]], None] = lambda _: None,
    member: Callable[[tarfile.TarInfo], None] = lambda _: None,
) -> Path:
    """An archive with another manifest, or with other heads of members."""
    with tarfile.open(archive) as old, tarfile.open(to, "w") as new:
        for one in old.getmembers():
            stream = old.extractfile(one)
            assert stream is not None
            data = stream.read()
            if one.name == "manifest.json":
                changed = json.loads(data)
                manifest(changed)
                data = json.dumps(changed).encode()
                one.size = len(data)
            member(one)
            new.addfile(one, io.BytesIO(data) if one.isreg() else None)
    return to


def renamed(name: str) -> Callable[[Path, Path], Path]:
    """The last file under another name, in the manifest too."""

    def build(archive: Path, to: Path) -> Path:
        last = manifest_of(archive)["files"][-1]["name"]

        def rename(found: dict[str, Any]) -> None:
            found["files"][-1]["name"] = name

        def rename_member(one: tarfile.TarInfo) -> None:
            one.name = name if one.name == last else one.name

        return rebuilt(archive, to, manifest=rename, member=rename_member)

    return build


def linked(archive: Path, to: Path) -> Path:
    def link(one: tarfile.TarInfo) -> None:
        if one.name == "observations.db":
            one.type, one.linkname, one.size = tarfile.SYMTYPE, "/etc/passwd", 0

    return rebuilt(archive, to, member=link)


def cut(fraction: float) -> Callable[[Path, Path], Path]:
    def build(archive: Path, to: Path) -> Path:
        data = archive.read_bytes()
        to.write_bytes(data[: int(len(data) * fraction)])
        return to

    return build


def flipped(archive: Path, to: Path) -> Path:
    """One bit of a picture."""
    data = bytearray(archive.read_bytes())
    data[data.index(b"IDAT") + 8] ^= 1
    to.write_bytes(data)
    return to


def shortened_list(archive: Path, to: Path) -> Path:
    return rebuilt(archive, to, manifest=lambda found: found["files"].pop())


def later_format(archive: Path, to: Path) -> Path:
    return rebuilt(archive, to, manifest=lambda found: found.update(format=2))


def foreign(archive: Path, to: Path) -> Path:
    to.write_text("a letter\n" * 1000)
    return to


def foreign_tar(archive: Path, to: Path) -> Path:
    with tarfile.open(to, "w") as tar:
        tar.add(REPOSITORY / "LICENSE", "LICENSE")
    return to


def compressed(archive: Path, to: Path) -> Path:
    import gzip

    to.write_bytes(gzip.compress(archive.read_bytes(), 1))
    return to


BAD: dict[str, Callable[[Path, Path], Path]] = {
    "outside": renamed("pictures/../../../outside"),
    "absolute": renamed("/nowhere/outside"),
    "twice": renamed("mlflow.db"),
    "unknown place": renamed("hooks/post-checkout"),
    "link": linked,
    "half": cut(0.5),
    "nearly whole": cut(0.97),
    "empty": cut(0.0),
    "one bit": flipped,
    "manifest": shortened_list,
    "format": later_format,
    "foreign": foreign,
    "foreign tar": foreign_tar,
    "compressed": compressed,
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_refused_before_anything_is_written(
    saved: Saved, clone: Path, tmp_path: Path, kind: str
) -> None:
    bad, before = BAD[kind](saved.archive, tmp_path / "bad.tar"), listing(clone)
    with pytest.raises(BackupError) as refused:
        restore(Path(), bad)
    assert refused.value.what == str(bad)
    assert listing(clone) == before
    assert not (tmp_path / "outside").exists()


def test_a_manifest_is_read_as_it_was_written(saved: Saved) -> None:
    assert set(manifest_of(saved.archive)) == set(Manifest.__dataclass_fields__)

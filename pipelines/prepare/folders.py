"""Reads folders of pictures: which names are ignored, and which entries cannot be pictures."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.core.errors import DataError
from pipelines.core.paths import ATTRIBUTES, RELABEL

LEFT_BEHIND = frozenset(
    {
        # Windows: thumbnails, folder settings, recycle bins (10/7 and XP), the volume's own folder.
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "$recycle.bin",
        "recycler",
        "system volume information",
        # macOS: what its archives carry, and what it writes on shared volumes.
        "__macosx",
        "icon\r",
        "network trash folder",
        "temporary items",
        "thevolumesettingsfolder",
        # Synology, QNAP and NetApp: extended attributes with thumbnails, recycle bins, snapshots.
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
        "~snapshot",
        # Linux's fsck; programs that look through photographs.
        "lost+found",
        "picasa.ini",
        "zbthumbnail.info",
    }
)
"""Names, in lower case, of files that operating systems, NAS boxes and photo programs leave in folders."""
_BESIDE_CLASSES = frozenset({ATTRIBUTES.name, RELABEL.name})
"""Files of the data's folder that other stages read."""
# Windows' mark of a downloaded file, `photo.jpg:Zone.Identifier`; archivers replace the colon.
_DOWNLOAD_MARK = "zone.identifier"
# Synology stores a file's resource fork and attributes beside it.
_SYNOLOGY_STREAMS = ("@synoresource", "@synoeastream")
_NAMED = 10

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


def is_left_behind(name: str) -> bool:
    """Whether a file or folder of this name is ignored: hidden, or listed in `LEFT_BEHIND`."""
    lower = name.casefold()
    return (
        name.startswith(".") or lower in LEFT_BEHIND or lower.endswith((_DOWNLOAD_MARK, *_SYNOLOGY_STREAMS))
    )


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An entry that is skipped although the user may expect it to be prepared."""

    path: str
    """Relative to the project."""
    reason: str


@dataclass(kw_only=True)
class FolderReader:
    """Reads folders below `root` and keeps what it cannot use."""

    root: Path
    """Paths are relative to it."""
    passed_over: list[PassedOver] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    """Symbolic links to folders."""

    def subfolders(self, folder: Path) -> list[Path]:
        """Folders directly in `folder`, sorted; files there belong to no class and are passed over."""
        if not folder.is_dir():
            return []
        found = []
        for entry in self._entries(folder):
            if self._is_folder(entry):
                found.append(folder / entry.name)
            elif entry.name not in _BESIDE_CLASSES:
                self._pass_over(entry, _special(entry) or "it lies in no folder of a class")
        return found

    def files(self, folder: Path) -> Iterator[str]:
        """Locator of every file below `folder` that could be a picture, sorted; the content decides later.

        Links to files are followed: DVC versions what they point to.
        """
        folders, place = [], self.locator(folder)
        for entry in self._entries(folder):
            if self._is_folder(entry):
                folders.append(folder / entry.name)
            elif kind := _special(entry):
                self._pass_over(entry, kind)
            else:
                yield _utf8(f"{place}/{entry.name}")
        for below in folders:
            yield from self.files(below)

    def check_links(self) -> None:
        """Refuse links to folders: DVC does not follow them, so their content would not be versioned.

        Raises:
            DataError: there are some; the message names them.
        """
        if self.links:
            more = f" and {len(self.links) - _NAMED} more" if len(self.links) > _NAMED else ""
            raise DataError(
                f"{', '.join(sorted(self.links)[:_NAMED])}{more}: symbolic links to folders, which DVC does "
                "not version, expected real folders; copy what they point to (`cp -rL`) or remove them"
            )

    def locator(self, path: Path) -> str:
        """`path` relative to the root, with slashes.

        Raises:
            DataError: the name is not UTF-8.
        """
        return _utf8(path.relative_to(self.root).as_posix())

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                kept = [entry for entry in entries if not is_left_behind(entry.name)]
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be read ({error.strerror}), expected a readable folder; "
                "correct its permissions"
            ) from error
        return sorted(kept, key=lambda entry: entry.name)

    def _is_folder(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_dir() and entry.is_symlink():
            self.links.append(self.locator(Path(entry.path)))
            return False
        return entry.is_dir()

    def _pass_over(self, entry: os.DirEntry[str], reason: str) -> None:
        self.passed_over.append(PassedOver(self.locator(Path(entry.path)), reason))


def _special(entry: os.DirEntry[str]) -> str | None:
    """What kind of entry this is when it is neither a file nor a folder; reading it could wait for ever."""
    try:
        mode = entry.stat().st_mode
    except OSError:
        return None  # a broken link: reading it reports that
    return next((kind for test, kind in _KINDS if test(mode)), None)


def _utf8(locator: str) -> str:
    try:
        locator.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{locator!r}: the name is not UTF-8, expected one that is; rename the file"
        ) from error
    return locator

"""Any other place that Beam can reach, such as hdfs://, through its FileSystems.

They have no conditional put: a name is looked at before it is written. Two runs at once into one folder are noticed
there mostly, not always. An empty folder may look like an empty file.

hdfs:// needs Beam's extra ``hadoop``, and in the environment ``HDFS_HOST``, ``HDFS_PORT`` (of WebHDFS), ``HDFS_USER``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.errors import Conflict, DataChanged, StoreError, StoreUnavailable
from transforms.stores.store import Entry


class BeamStore:
    """A scheme that Beam knows as a ``Store``; a version is the time of the last change, in seconds, with the size.

    Raises:
        StoreUnavailable: Beam does not know it.
    """

    remote = True

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        if scheme == "hdfs":
            _tell_hdfs()
        try:
            self._has_folders = bool(FileSystems.get_filesystem(f"{scheme}://").has_dirs())
        except (ValueError, BeamIOError) as error:
            why = next((str(cause) for cause in _causes(error) if not isinstance(cause, BeamIOError)), str(error))
            raise StoreUnavailable(
                f"{scheme}:// is not a store that this program or Beam can reach: use gs://, s3://, azfs:// or a local "
                f"folder ({' '.join(why.split())[:200]})"
            ) from error

    def list(self, folder: str, beginning: str = "") -> Iterator[Entry]:
        """Every file below the folder, or of those the ones whose path from there begins so, sorted by its bytes."""
        prefix = f"{folder.rstrip('/')}/{beginning}"
        below = self._below(prefix.rpartition("/")[0], {})
        found = [file for file in below.values() if file.path.startswith(prefix) and not file.path.endswith("/")]
        yield from map(_entry, sorted(found, key=_path_bytes))

    def entry(self, path: str) -> Entry | None:
        """The entry of one file; None where there is none."""
        # Beam has one word for both: a folder is told by what is in it.
        return None if self.is_folder(path) else self._status(path)

    def is_folder(self, path: str) -> bool:
        return bool(self._children(path.rstrip("/")))

    def read(self, entry: Entry) -> bytes:
        """The whole content.

        Raises:
            DataChanged: the file is gone, or was written since it was listed, or while it was read.
        """
        before = self._status(entry.path)
        content = None if before is None else self._content(entry.path)
        if content is None:
            raise DataChanged(f"{entry.path} existed when the run began and is gone now: run again")
        if not before == entry == self._status(entry.path) or len(content) != entry.size:
            raise DataChanged(f"{entry.path} changed while the run was reading it: run again once it is complete")
        return content

    def get(self, path: str) -> bytes | None:
        """The content of a file as it is now; None where there is none."""
        return None if self.entry(path) is None else self._content(path)

    def _content(self, path: str) -> bytes | None:
        try:
            with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                content: bytes = file.read()
                return content
        except (BeamIOError, OSError) as error:
            if self._status(path) is None:
                return None
            raise StoreError(f"cannot read {path}: {error}") from error

    def load(self, path: str) -> tuple[bytes, str] | None:
        """Content and version of a small file; None where there is none."""
        entry = self.entry(path)
        return None if entry is None else (self.read(entry), entry.version)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Publish under a name that is still free; True if this call did, False if equal bytes were there already.

        Raises:
            Conflict: other bytes stand under that name.
        """
        present = self.get(path)
        if present is None:
            self._write(path, data)
            return True
        if present != data:
            raise Conflict(f"{path} holds other bytes than this run would write: is another run writing here?")
        return False

    def put(self, path: str, data: bytes, version: str | None = None) -> None:
        """Publish under a name, in place of what was there.

        Raises:
            Conflict: a version is given, and is no longer the one that is there.
        """
        if version is not None and ((entry := self.entry(path)) is None or entry.version != version):
            raise Conflict(f"{path} was changed by somebody else meanwhile")
        self._write(path, data)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove files; silent where they are gone already."""
        there = [path for path in paths if self._status(path) is not None]
        try:
            if there:
                FileSystems.delete(there)
        except (BeamIOError, OSError) as error:
            if left := [path for path in there if self._status(path) is not None]:
                raise StoreError(f"cannot delete {left[0]}: {error}") from error

    def absolute(self, path: str) -> str:
        return path.rstrip("/")

    def _status(self, path: str) -> Entry | None:
        try:
            system = FileSystems.get_filesystem(path)
            return _entry(system.metadata(path)) if system.exists(path) else None
        except (BeamIOError, OSError) as error:
            if any(isinstance(cause, FileNotFoundError) for cause in _causes(error)):
                return None  # gone between the two
            raise StoreError(f"cannot look at {path}: {error}") from error

    def _below(self, folder: str, found: dict[str, FileMetadata]) -> dict[str, FileMetadata]:
        """Every file below a folder by its path: some systems list all, others only what the folder itself holds, with
        its folders as files of no size (HDFS).
        """
        for child in self._children(folder):
            if child.path in found:
                continue
            found[child.path] = child
            if child.size_in_bytes == 0 and self._children(child.path):
                del found[child.path]
                self._below(child.path, found)
        return found

    def _children(self, folder: str) -> Sequence[FileMetadata]:
        system = FileSystems.get_filesystem(folder)
        try:
            # What ``match`` begins with; its patterns know no way to say a bracket or an asterisk.
            listed: Iterable[Any] = list(system._list(folder if self._has_folders else f"{folder}/"))
        except (BeamIOError, OSError) as error:
            causes = _causes(error)
            if any(isinstance(cause, (FileNotFoundError, NotADirectoryError)) for cause in causes):
                return []
            # HDFS has words for it only.
            if any("not a directory" in str(cause) for cause in causes) or self._status(folder) is None:
                return []
            raise StoreError(f"cannot list {folder}: {error}") from error
        return [child for child in listed if child.path.startswith(f"{folder}/")]

    def _write(self, path: str, data: bytes) -> None:
        try:
            with FileSystems.create(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED) as file:
                file.write(data)
        except (BeamIOError, OSError) as error:
            raise StoreError(f"cannot write {path}: {error}") from error


def _causes(error: BaseException) -> list[BaseException]:
    details = getattr(error, "exception_details", None) or {}
    inner = [*details.values(), error.__cause__]
    return [error, *(cause for one in inner if isinstance(one, BaseException) for cause in _causes(one))]


def _entry(found: FileMetadata) -> Entry:
    return Entry(found.path, found.size_in_bytes, f"{found.last_updated_in_seconds}-{found.size_in_bytes}")


def _tell_hdfs() -> None:
    """Beam takes an HDFS cluster's address as options; environments reach every worker, options of ours would not.

    Raises:
        StoreUnavailable: it is not in the environment.
    """
    address = {name: os.environ.get(name.upper(), "") for name in ("hdfs_host", "hdfs_port", "hdfs_user")}
    if missing := [name.upper() for name, value in address.items() if not value]:
        raise StoreUnavailable(
            f"hdfs:// needs {', '.join(missing)} in the environment: the address of WebHDFS, and a user"
        )
    FileSystems.set_options(PipelineOptions.from_dictionary(address))


def _path_bytes(found: FileMetadata) -> bytes:
    encoded: bytes = found.path.encode("utf-8", "surrogateescape")
    return encoded

"""Any other place that Beam can reach, such as hdfs://, through its FileSystems.

They have no conditional put: a name is looked at before it is written. Two runs at once into one folder are noticed
there mostly, not always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from transforms.stores.store import Changed, Conflict, Denied, Entry, StoreError


class BeamStore:
    """A scheme that Beam knows as a ``Store``; a version is the time of the last change, in seconds, with the size.

    Raises:
        Denied: Beam does not know it.
    """

    remote = True

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        try:
            FileSystems.get_filesystem(f"{scheme}://")
        except ValueError:
            raise Denied(
                f"{scheme}:// is no store that this program or Beam can reach: use gs://, s3://, azfs:// or a local "
                "folder"
            ) from None

    def list(self, folder: str, beginning: str = "") -> Iterator[Entry]:
        """Every file below the folder, or of those the ones whose path from there begins so, sorted by its bytes."""
        prefix = f"{folder.rstrip('/')}/"
        for found in self._match(f"{prefix}{beginning}**"):
            if found.path.startswith(prefix) and not found.path.endswith("/"):
                yield _entry(found)

    def entry(self, path: str) -> Entry | None:
        """The entry of one file; None where there is none."""
        found = next((found for found in self._match(path) if found.path == path), None)
        # Beam has one word for both: a folder is told by what is in it.
        return None if found is None or self.is_folder(path) else _entry(found)

    def is_folder(self, path: str) -> bool:
        return bool(self._match(f"{path.rstrip('/')}/**", 1))

    def read(self, entry: Entry) -> bytes:
        """The whole content.

        Raises:
            Changed: the file is gone, or was written since it was listed, or while it was read.
        """
        before = self.entry(entry.path)
        content = self.get(entry.path)
        if before is None or content is None:
            raise Changed(f"{entry.path} was there when the run began and is gone now: run again")
        if not before == entry == self.entry(entry.path) or len(content) != entry.size:
            raise Changed(f"{entry.path} changed while the run was reading it: run again when it is whole")
        return content

    def get(self, path: str) -> bytes | None:
        """The content of a file as it is now; None where there is none."""
        if self.entry(path) is None:
            return None
        try:
            with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                content: bytes = file.read()
                return content
        except (BeamIOError, OSError) as error:
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
        there = [path for path in paths if self.entry(path) is not None]
        if there:
            FileSystems.delete(there)

    def absolute(self, path: str) -> str:
        return path.rstrip("/")

    def _match(self, pattern: str, most: int | None = None) -> Sequence[FileMetadata]:
        try:
            (found,) = FileSystems.match([pattern], [most])
        except BeamIOError as error:
            if all(isinstance(cause, FileNotFoundError) for cause in (error.exception_details or {}).values()):
                return []
            raise StoreError(f"cannot list {pattern}: {error}") from error
        listed: Any = found.metadata_list
        return sorted(listed, key=_path_bytes)

    def _write(self, path: str, data: bytes) -> None:
        try:
            with FileSystems.create(path, "application/octet-stream", CompressionTypes.UNCOMPRESSED) as file:
                file.write(data)
        except (BeamIOError, OSError) as error:
            raise StoreError(f"cannot write {path}: {error}") from error


def _entry(found: FileMetadata) -> Entry:
    return Entry(found.path, found.size_in_bytes, f"{found.last_updated_in_seconds}-{found.size_in_bytes}")


def _path_bytes(found: FileMetadata) -> bytes:
    encoded: bytes = found.path.encode("utf-8", "surrogateescape")
    return encoded

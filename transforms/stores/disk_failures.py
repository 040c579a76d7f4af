"""What the system says of a file on a disk, in words that name the file, the cause and the cure."""

from __future__ import annotations

import errno

from transforms.errors import StoreError, StoreUnavailable

_CURES = {
    errno.EACCES: "permission denied: give this user the right to, or name another place",
    errno.EPERM: "permission denied: give this user the right to, or name another place",
    errno.EROFS: "the disk is read-only: name another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder: correct the path",
    errno.ENAMETOOLONG: "the name is longer than the disk takes: name another place",
    errno.ELOOP: "a symbolic link on the way leads to itself: remove the link, or correct the path",
    errno.ENOSPC: "the disk is full, or has no room for more names (df, df -i): free some of it, or name another place",
    errno.EDQUOT: "the quota of this user on the disk is used up: free some of it, or name another place",
    errno.EFBIG: "the file is larger than this process may write (ulimit -f): raise the limit",
    errno.EMFILE: "this process has too many files open (ulimit -n): raise the limit",
    errno.ENFILE: "the system has too many files open: end other programs",
    errno.EIO: "the disk does not respond as it should: check it (dmesg), and run again",
    errno.ESTALE: "the network disk has lost the file: remount it, and run again",
}
_NOTHING_BEGUN = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
)  # fmt: skip


def failure(act: str, path: str, error: OSError) -> StoreError:
    """The error to raise: ``StoreUnavailable`` where the place itself cannot be used as it was named."""
    kind = StoreUnavailable if error.errno in _NOTHING_BEGUN else StoreError
    said = error.strerror or str(error)
    cure = _CURES.get(error.errno or 0)
    return kind(f"cannot {act} {path}: {f'{said}: {cure}' if cure else said}")

"""Which file system a path lies on: SQLite's write-ahead log needs memory shared by all who write.

Over a network there is none, so that there the older rollback journal is used.
"""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
SHARED = frozenset(
    {"9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "cvfs", "fhgfs", "fuse", "gfs2"}
    | {"glusterfs", "gpfs", "lustre", "mmfs", "ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "prl_fs"}
    | {"pvfs2", "smb", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "weka", "wekafs"}
)
"""File systems that several machines may share; any FUSE counts, what lies under it is unknown."""


def kind(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the file system that a path lies on; None where that is not told.

    `mounts` is the text of /proc/self/mountinfo (Linux).
    """
    if mounts is None:
        try:
            mounts = MOUNTS.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
    place, found = path.absolute().resolve(), (-1, "")
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        root = Path(_plain(fields[4]))
        if place.is_relative_to(root) and len(root.parts) >= found[0]:
            found = (len(root.parts), after.split()[0])
    return found[1] or None


def shared(path: Path, mounts: str | None = None) -> bool:
    """Say whether other machines may write there too."""
    name = (kind(path, mounts) or "").partition(".")[0]
    return name in SHARED


def _plain(field: str) -> str:
    """Return a mount point as it is, without the octal escapes of mountinfo."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)

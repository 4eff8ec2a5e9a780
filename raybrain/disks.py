"""Disks: whether a folder lies on a disk of this machine, or on one that other machines write to as well."""

from pathlib import Path

# what Linux calls file systems that lie elsewhere. SQLite's locks, which its databases live by, do not hold on them:
# https://www.sqlite.org/faq.html#q5
DISKS = (
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "panfs",
    "pvfs2",
    "smb3",
    "smbfs",
    "wekafs",
)
IN_USER_SPACE = ("ceph-fuse", "gcsfuse", "glusterfs", "juicefs", "mount-s3", "rclone", "s3fs", "sshfs", "weka")
NETWORK = frozenset(DISKS) | {f"fuse.{name}" for name in IN_USER_SPACE}


def network_disk(path: Path) -> str | None:
    """The kind of the network disk that a file or folder lies on, or would if it were made; None if it is none."""
    import psutil

    path = path.expanduser().resolve()
    kind, depth = "", 0
    for part in psutil.disk_partitions(all=True):  # of two at one place the later one counts
        place = Path(part.mountpoint)
        if path.is_relative_to(place) and len(place.parts) >= depth:
            kind, depth = part.fstype, len(place.parts)
    return kind if kind in NETWORK else None

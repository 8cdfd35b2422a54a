"""Faults in the guards against hostile archives."""

from __future__ import annotations

from tests.faults.fault import Fault

TESTS = ("carot/test_archives", "hostile/test_corpus")


def archive(name: str, old: str, new: str, tests: tuple[str, ...] = TESTS) -> Fault:
    """In listing or reading a zip, a tar or a folder."""
    return Fault(name, "archives", old, new, tests)


FAULTS = (
    archive(
        "a path may climb in its middle",
        '    if ".." in parts:\n',
        '    if parts and parts[0] == "..":\n',
    ),
    archive(
        "backslashes are letters",
        '    if "\\\\" in raw:\n',
        '    if raw.startswith("\\\\"):\n',
    ),
    archive(
        "links in a tar are files",
        "plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and",
        "plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.SYMTYPE) and",
    ),
    archive(
        "links in a zip are files",
        "if kind not in (0, stat.S_IFREG, stat.S_IFDIR):",
        "if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):",
    ),
    archive(
        "links out of a folder are followed",
        "if path.is_symlink() and not path.resolve().is_relative_to(self._root):",
        "if path.is_symlink() and not path.exists():",
    ),
    archive(
        "a file may be as large as the whole",
        "if size > self.limits.file_bytes:",
        "if size > self.limits.total_bytes:",
    ),
    archive(
        "one file fewer than allowed",
        "if len(self.sizes) > self.limits.members:",
        "if len(self.sizes) >= self.limits.members:",
    ),
    archive(
        "a gzip may grow without bounds",
        "ceiling = max(limits.ratio_floor_bytes, limits.ratio * packed_bytes)",
        "ceiling = max(limits.total_bytes, limits.ratio * packed_bytes)",
    ),
    archive(
        "a zip bomb below the ratio's floor is none above it",
        "unpacked > self.limits.ratio_floor_bytes and unpacked > self.limits.ratio * packed",
        "unpacked > self.limits.total_bytes and unpacked > self.limits.ratio * packed",
    ),
    archive(
        "a file may hold less than it declares",
        "        if len(content) != declared:\n",
        "        if len(content) > declared:\n",
    ),
    archive(
        "entries may overlap",
        "if info.header_offset + 30 + info.compress_size > limit:",
        "if info.header_offset + 30 > limit:",
    ),
    archive(
        "an extended header may be large",
        "if size > HEADER_BYTES + 1024:",
        "if size > HEADER_BYTES * 1024:",
    ),
    archive(
        "the checking process tells of no kind of error",
        '"fault": type(error).__name__,',
        '"fault": "DataError",',
        ("carot/test_archive_process|test_apart",),
    ),
    archive(
        "the checking process has memory without bounds",
        "(resource.RLIMIT_AS, _address_space() + memory_bytes),",
        "(resource.RLIMIT_AS, _address_space() * 1000 + memory_bytes),",
        ("carot/test_archive_process|test_apart", "carot/test_decoding"),
    ),
)

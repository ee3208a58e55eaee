# SPDX-License-Identifier: MIT
"""A fake /proc: the three files that the vmstat source reads, rewritten in place."""

from pathlib import Path

# Excerpts of a small machine's files: the counters that a test sets, between others.
_VMSTAT = """\
nr_free_pages {free}
nr_free_pages_blocks 182720
nr_zone_inactive_anon 8162
nr_inactive_file 20562
pgpgin 4204517
pgalloc_normal 9917264
allocstall_dma 0
allocstall_dma32 3
allocstall_normal {stalls}
allocstall_movable 11
pgfree 21173113
pgmajfault 1893
pgsteal_kswapd {steal_kswapd}
pgsteal_direct {steal_direct}
pgsteal_khugepaged {steal_khugepaged}
pgsteal_proactive {steal_proactive}
pgscan_kswapd {scan_kswapd}
pgscan_direct {scan_direct}
pgscan_khugepaged {scan_khugepaged}
pgscan_proactive {scan_proactive}
pgscan_direct_throttle {throttle}
pgscan_anon {scan_anon}
pgscan_file {scan_file}
pgsteal_anon {steal_anon}
pgsteal_file {steal_file}
zone_reclaim_success 0
oom_kill 2
"""
_ZONE = """\
Node {node}, zone {name:>8}
  per-node stats
      nr_inactive_anon 8187
      nr_free_cma  0
  pages free     {free}
        boost    0
        min      {min}
        low      {low}
        high     {high}
        promo    {high}
        spanned  4095
        managed  3840
        protection: (0, 3019, 5195, 5195, 5195)
      nr_free_pages {free}
  pagesets
    cpu: 0
              count:    127
              high:     1000
              low:      9999
              batch:    63
"""
_MEMINFO = """\
MemTotal:       {total:>8} kB
MemFree:          120512 kB
MemAvailable:   {available:>8} kB
Buffers:             752 kB
SwapTotal:             0 kB
"""

LOW_WATERMARK_PAGES = 60 + 12237


def zone(name: str, low: int, node: int = 0) -> str:
    return _ZONE.format(node=node, name=name, free=3840, min=low * 4 // 5, low=low, high=low * 6 // 5)


ONE_NODE = zone("DMA", 60) + zone("DMA32", 12237) + zone("Movable", 0)
TWO_NODES = ONE_NODE + zone("Normal", 8820, node=1)


class Procfs:
    """Three files in a directory.  ``counters`` holds the numbers of vmstat as last written.

    ``leave_out``: a text; lines of vmstat that contain it are missing, as on kernels without that counter.
    """

    def __init__(self, path: Path, *, leave_out: str = "") -> None:
        self.path = path
        self._vmstat = "".join(
            line for line in _VMSTAT.splitlines(keepends=True) if not (leave_out and leave_out in line)
        )
        names = ("kswapd", "direct", "khugepaged", "proactive", "anon", "file")
        self.counters = {f"{what}_{who}": 1000 for what in ("scan", "steal") for who in names}
        self.counters |= {"free": 1_000_000, "stalls": 7, "throttle": 5}
        # Cgroups have reached their limits on this machine; its kernel counts that by kind of page only.
        self.counters["scan_file"] = 1_000_000
        self.add()
        self.set_available(total=1_000_000, available=500_000)
        self.set_zoneinfo(ONE_NODE)

    def add(self, **pages: int) -> None:
        """Raise counters of vmstat."""
        for name, more in pages.items():
            self.counters[name] += more
        self._write("vmstat", self._vmstat.format(**self.counters))

    def set_headroom(self, pages: int) -> None:
        """Set how many pages are free above the low watermarks."""
        self.counters["free"] = LOW_WATERMARK_PAGES + pages
        self.add()

    def set_available(self, *, total: int, available: int) -> None:
        """Set MemTotal and MemAvailable, in kB."""
        self._write("meminfo", _MEMINFO.format(total=total, available=available))

    def set_zoneinfo(self, text: str) -> None:
        """Replace the content of zoneinfo."""
        self._write("zoneinfo", text)

    def _write(self, name: str, text: str) -> None:
        # In place, so that a process that has the file open reads the new content.
        (self.path / name).write_text(text)

/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What crosses the border between the BPF program, the C of the event path and
 * Python: each structure stands here and nowhere else. cffi reads this file too,
 * without the lines that begin with '#', so constants are enumerators.
 */
#ifndef PFS_SHARED_H
#define PFS_SHARED_H

#include <linux/types.h>

enum {
	/* A window that was filled without a sign of the priority's. */
	PFS_NO_PRIORITY = -1,
	/* The kernel's root cgroup, whatever its number: the whole machine. */
	PFS_MACHINE = 0,
	/* Of each kind in a window. */
	PFS_PAGES_MAX = 0x7fffffff
};

struct pfs_window {
	__u64 time_ns;	 /* CLOCK_MONOTONIC */
	__u64 cgroup;	 /* the target of the reclaim, by inode number, or PFS_MACHINE */
	__u64 listening; /* it, or the nearest above it that somebody listens to */
	__u32 scanned;	 /* pages */
	__u32 reclaimed;
	__s32 priority; /* 12, the first pass, to 0; or PFS_NO_PRIORITY */
	__u32 injected; /* of `scanned`, what stands for the priority and was no page */
};

/* At which place the kernel's functions take which argument, and the bits of gfp that it counts. */
struct pfs_known {
	__u32 gfp;
	__u32 memcg;
	__u32 tree;
	__u32 scanned;
	__u32 reclaimed;
	__u32 prio_gfp;
	__u32 prio_memcg;
	__u32 prio;
	__u64 gfp_counted;
};

struct pfs_shared {
	/* What may be turned. */
	__u32 window_pages;
	__s32 oom_priority;
	/* What was scanned for the machine, as far as it was counted. */
	__u64 machine_pages;
};

#endif

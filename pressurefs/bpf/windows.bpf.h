/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The windows of all cgroups, and the ring buffer that full ones go to.
 *
 * A window is in a table of fixed size, whose least recently used row makes room for a
 * new one. The task that fills a window takes it, whole, and writes it into the ring
 * buffer, unless neither its cgroup nor an ancestor has listeners. A window that finds
 * no room in the ring buffer is put back.
 */

#ifndef PFS_WINDOWS_BPF_H
#define PFS_WINDOWS_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

/* What is used of the kernel's structures; CO-RE finds where it is. */
#define KERNEL_STRUCTURE __attribute__((preserve_access_index))

struct kernfs_node {
	__u64 id;
} KERNEL_STRUCTURE;

struct cgroup {
	struct kernfs_node *kn;
} KERNEL_STRUCTURE;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
} KERNEL_STRUCTURE;

struct work_struct {
	int unused;
} KERNEL_STRUCTURE;

struct vmpressure {
	unsigned long tree_scanned;
	unsigned long tree_reclaimed;
	struct work_struct work;
} KERNEL_STRUCTURE;

struct mem_cgroup {
	struct cgroup_subsys_state css;
	struct vmpressure vmpressure;
} KERNEL_STRUCTURE;

/* As many as are sampled by the source vmstat. Deeper nesting only occurs as an attack on this walk. */
#define LEVELS_MAX 128

#define WINDOWS_MAX 16384
#define LISTENING_MAX 65536
/* Some 290 windows. A window that finds no room is judged together with later pages, as
 * the kernel's worker does when it is late: no listener is signalled for old reclaim. */
#define RING_BYTES (16 * 1024)

/* A window's pages in one number, so that both are added and taken at once. */
#define SCANNED(pages) ((__u32)((pages) >> 32))
#define RECLAIMED(pages) ((__u32)(pages))

/* Shared with the daemon while this runs. */
struct pfs_shared shared;

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WINDOWS_MAX);
	__type(key, __u64);
	__type(value, __u64);
} windows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* only the daemon adds */
	__uint(max_entries, LISTENING_MAX);
	__type(key, __u64);
	__type(value, __u8);
} listening SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} full SEC(".maps");

static __always_inline __u64 id_of(struct cgroup_subsys_state *css)
{
	return BPF_CORE_READ(css, cgroup, kn, id);
}

static __always_inline __u64 pages_of(__u64 scanned, __u64 reclaimed)
{
	if (scanned > PFS_PAGES_MAX)
		scanned = PFS_PAGES_MAX;
	if (reclaimed > PFS_PAGES_MAX)
		reclaimed = PFS_PAGES_MAX;
	return scanned << 32 | reclaimed;
}

static __always_inline __u64 number_of(struct mem_cgroup *memcg)
{
	if (!memcg || !BPF_CORE_READ(memcg, css.parent))
		return PFS_MACHINE;
	return id_of(&memcg->css);
}

/* The target's number, and in *listening_id who listens to it: itself or the
 * nearest above; false where nobody does. */
static __always_inline bool find_listening(struct mem_cgroup *memcg, __u64 *id, __u64 *listening_id)
{
	struct cgroup_subsys_state *css;

	*id = *listening_id = number_of(memcg);
	if (*id == PFS_MACHINE)
		return bpf_map_lookup_elem(&listening, listening_id) != NULL;
	css = &memcg->css;
	for (int level = 0; level < LEVELS_MAX && css; level++) {
		*listening_id = id_of(css);
		if (bpf_map_lookup_elem(&listening, listening_id))
			return true;
		css = BPF_CORE_READ(css, parent);
	}
	return false;
}

/* `injected`: of the pages scanned, those that stand for the priority.  False: there was no room. */
static __always_inline bool tell(struct mem_cgroup *memcg, __u64 pages, __s32 priority, __u32 injected)
{
	struct pfs_window *window;
	__u64 id, listening_id;

	if (!find_listening(memcg, &id, &listening_id))
		return true;
	window = bpf_ringbuf_reserve(&full, sizeof(*window), 0);
	if (!window)
		return false;
	window->time_ns = bpf_ktime_get_ns();
	window->cgroup = id;
	window->listening = listening_id;
	window->scanned = SCANNED(pages);
	window->reclaimed = RECLAIMED(pages);
	window->priority = priority;
	window->injected = injected;
	bpf_ringbuf_submit(window, 0);
	return true;
}

static __always_inline __u64 *find_window(__u64 id)
{
	__u64 empty = 0;
	__u64 *pages = bpf_map_lookup_elem(&windows, &id);

	if (pages)
		return pages;
	bpf_map_update_elem(&windows, &id, &empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(&windows, &id);
}

static __always_inline void add(struct mem_cgroup *memcg, __u64 scanned, __u64 reclaimed, __s32 priority)
{
	__u32 window_pages = shared.window_pages;
	__u64 id = number_of(memcg);
	__u64 *pages = find_window(id);
	__u32 injected = priority == PFS_NO_PRIORITY ? 0 : (__u32)scanned;
	__u64 more, sum;

	if (id == PFS_MACHINE)
		shared.machine_pages += scanned;
	if (!pages)
		return;
	more = pages_of(scanned, reclaimed);
	sum = __sync_fetch_and_add(pages, more) + more;
	if (SCANNED(sum) < window_pages)
		return;
	sum = __sync_lock_test_and_set(pages, 0);
	/* Less than a window: another processor has just taken it, or the ring buffer
	 * has no room. What is put back is judged with what comes, as the kernel's
	 * worker does when it is late. */
	if (SCANNED(sum) >= window_pages && tell(memcg, sum, priority, injected))
		return;
	__sync_fetch_and_add(pages, sum);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the event path says to the BPF program: which cgroups have listeners, in a map,
 * and the thresholds, in shared memory.
 *
 * The program may be taken away at any moment by another thread, hence a lock. Not the
 * event path's: bpf(2) takes memory, and may wait for it.
 */

#include "native.h"

#include <string.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t pfs_bpf_lock = PTHREAD_MUTEX_INITIALIZER;

static int pfs_bpf_mark_number(const struct pfs_event_path *path, uint64_t cgroup, bool is_listened)
{
	uint8_t yes = 1;
	union bpf_attr attr;
	int marked = 0;

	memset(&attr, 0, sizeof(attr));
	attr.key = (uint64_t)(uintptr_t)&cgroup;
	if (is_listened)
		attr.value = (uint64_t)(uintptr_t)&yes;
	pthread_mutex_lock(&pfs_bpf_lock);
	if (path->listening_fd >= 0) {
		attr.map_fd = (uint32_t)path->listening_fd;
		marked = (int)syscall(SYS_bpf, is_listened ? BPF_MAP_UPDATE_ELEM : BPF_MAP_DELETE_ELEM, &attr,
				      sizeof(attr));
	}
	pthread_mutex_unlock(&pfs_bpf_lock);
	return marked;
}

/* Say whether a cgroup has listeners. Nothing where there is no program. */
int pfs_bpf_mark(const struct pfs_event_path *path, uint64_t cgroup, bool is_listened)
{
	/* A walk from a cgroup upwards ends at a number; the machine's own reclaim has none. */
	if (cgroup == PFS_MACHINE && path->top != PFS_MACHINE &&
	    pfs_bpf_mark_number(path, path->top, is_listened) < 0)
		return -1;
	return pfs_bpf_mark_number(path, cgroup, is_listened);
}

void pfs_bpf_tune(struct pfs_event_path *path)
{
	uint64_t window_pages = path->thresholds.window_pages;

	if (window_pages > PFS_PAGES_MAX)
		window_pages = PFS_PAGES_MAX; /* 8 TiB */
	pthread_mutex_lock(&pfs_bpf_lock);
	if (path->shared) {
		__atomic_store_n(&path->shared->window_pages, (uint32_t)window_pages, __ATOMIC_RELAXED);
		__atomic_store_n(&path->shared->oom_priority, path->thresholds.oom_priority, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&pfs_bpf_lock);
}

/* From here on keep a program informed, by its map and its memory. */
int pfs_event_path_attach(struct pfs_event_path *path, int listening_fd, void *shared)
{
	pthread_mutex_lock(&pfs_bpf_lock);
	path->listening_fd = listening_fd;
	path->shared = shared;
	pthread_mutex_unlock(&pfs_bpf_lock);
	pfs_bpf_tune(path);
	for (size_t at = 0; at < PFS_BUCKETS; at++)
		for (struct pfs_place *place = path->buckets[at]; place; place = place->next)
			if (pfs_bpf_mark(path, place->cgroup, true) < 0)
				return -1;
	return 0;
}

/* The map and the memory are about to go. */
void pfs_event_path_detach(struct pfs_event_path *path)
{
	pthread_mutex_lock(&pfs_bpf_lock);
	path->listening_fd = -1;
	path->shared = NULL;
	pthread_mutex_unlock(&pfs_bpf_lock);
}

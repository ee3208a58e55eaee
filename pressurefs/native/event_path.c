/* SPDX-License-Identifier: MIT */
/*
 * The event path: from a sample or a full window to the eventfds, without Python.
 *
 * windows.c adds samples up and judges, walk.c walks up to the listeners,
 * listeners.c is the table of them and places.c their cgroups, history.c keeps what
 * was judged. ringbuf.c hands in the windows that the BPF program fills, bpf_maps.c
 * says to it which cgroups have listeners.
 *
 * The path takes no memory, opens nothing and waits for nobody: under the pressure
 * that it reports, each of those would come too late. What it needs is made when
 * a listener registers.
 */

#include "native.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

pthread_mutex_t pfs_event_lock;

__attribute__((constructor)) static void pfs_event_lock_init(void)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&pfs_event_lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

/* Address space; each page of it becomes memory when it is first written. */
static void *pfs_reserve(size_t bytes)
{
	void *reserved = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (reserved == MAP_FAILED)
		return NULL;
	/* A huge page would be zeroed, and locked, for the first listener. */
	madvise(reserved, bytes, MADV_NOHUGEPAGE);
	return reserved;
}

/* `top`: the inode number of the cgroup tree's root, or PFS_MACHINE where no cgroup
 * can be listened to. There can be `listeners_max` listeners. */
struct pfs_event_path *pfs_event_path_open(uint64_t top, size_t listeners_max)
{
	struct pfs_event_path *path = calloc(1, sizeof(*path));

	if (!path)
		return NULL;
	path->top = top;
	path->listeners_max = listeners_max;
	path->free_row = path->cold = PFS_NO_ROW;
	path->listening_fd = path->cold_fd = -1;
	path->thresholds.window_pages = UINT64_MAX;
	path->listeners = pfs_reserve(listeners_max * sizeof(*path->listeners));
	path->links = pfs_reserve(listeners_max * sizeof(*path->links));
	path->history = pfs_reserve(PFS_HISTORY_WINDOWS * sizeof(*path->history));
	if (!path->listeners || !path->links || !path->history) {
		pfs_event_path_close(path);
		errno = ENOMEM;
		return NULL;
	}
	/* Touched now: a page that is touched first under pressure must be found under pressure. */
	memset(path->history, 0xff, PFS_HISTORY_WINDOWS * sizeof(*path->history));
	return path;
}

void pfs_event_path_tune(struct pfs_event_path *path, const struct pfs_thresholds *thresholds)
{
	pthread_mutex_lock(&pfs_event_lock);
	path->thresholds = *thresholds;
	if (!path->thresholds.window_pages)
		path->thresholds.window_pages = 1;
	pthread_mutex_unlock(&pfs_event_lock);
	pfs_bpf_tune(path);
}

/* Listeners by AIO are signalled through `aio`; NULL: no more. */
void pfs_event_path_use_aio(struct pfs_event_path *path, struct pfs_aio *aio)
{
	pthread_mutex_lock(&pfs_event_lock);
	path->aio = aio;
	pthread_mutex_unlock(&pfs_event_lock);
}

/* How many signals were lost since the last call, and the errno of the last one. */
uint64_t pfs_event_path_take_lost(struct pfs_event_path *path, int *error)
{
	uint64_t lost;

	pthread_mutex_lock(&pfs_event_lock);
	lost = path->signals_lost;
	path->signals_lost = 0;
	*error = path->lost_error;
	pthread_mutex_unlock(&pfs_event_lock);
	return lost;
}

/* No thread uses the path any more. The handles are their owners'. */
void pfs_event_path_close(struct pfs_event_path *path)
{
	for (size_t at = 0; at < PFS_BUCKETS; at++) {
		while (path->buckets[at]) {
			struct pfs_place *place = path->buckets[at];

			path->buckets[at] = place->next;
			free(place);
		}
	}
	if (path->listeners)
		munmap(path->listeners, path->listeners_max * sizeof(*path->listeners));
	if (path->links)
		munmap(path->links, path->listeners_max * sizeof(*path->links));
	if (path->history)
		munmap(path->history, PFS_HISTORY_WINDOWS * sizeof(*path->history));
	free(path);
}

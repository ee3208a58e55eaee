/* SPDX-License-Identifier: MIT */
/*
 * From a full window to the eventfds, without Python: who listens where, the
 * level of a window, and the walk that mm/vmpressure.c makes in its worker.
 *
 * This is the event path of the source `kernel`. It takes no memory, opens
 * nothing and waits for nobody: under the pressure that it reports, each of
 * those would come too late. What it needs was made when somebody registered;
 * the kernel keeps a node for each ring that a thread submits to, and that is
 * made then, too: see pfs_fanout_warm().
 *
 * Python keeps the same registrations (registry.py, engine.py) and is told of
 * each window afterwards: for history, and for the listeners that only Python
 * can tell, which are here without a ring.
 */

#include "native.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <linux/bpf.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PFS_BUCKETS 1024

struct pfs_place;

struct pfs_listener {
	struct pfs_uring *uring; /* NULL: Python tells this one */
	int level;
	int mode;
	struct pfs_place *place;
	struct pfs_listener *before;
	struct pfs_listener *next;
	struct pfs_listener *next_cold; /* among those whom the reader has not submitted for */
};

/* A cgroup that somebody listens to, and the nearest such above it. */
struct pfs_place {
	uint64_t cgroup;
	struct pfs_place *parent;
	struct pfs_listener *first;
	struct pfs_listener *last;
	struct pfs_place *next;
};

struct pfs_fanout {
	uint64_t top; /* the number of the directory whose place is the machine's */
	struct pfs_thresholds thresholds;
	struct pfs_place *buckets[PFS_BUCKETS];
	struct pfs_listener *cold;
	int cold_fd; /* an eventfd by which the reader learns of them; -1: no reader */
	/* The BPF program's; under pfs_sharing. */
	int listening_fd;
	struct pfs_shared *shared;
};

/* What is said to the BPF program, which may be taken away at any moment by another
 * thread. Not the event path's lock: bpf(2) takes memory, and may wait for it. */
static pthread_mutex_t pfs_sharing = PTHREAD_MUTEX_INITIALIZER;

static uint32_t pfs_index(uint32_t scanned, uint32_t reclaimed, const struct pfs_thresholds *thresholds)
{
	uint64_t scale = thresholds->window_pages;

	/* More reclaimed than scanned: whole slabs, or a huge page that was counted once. */
	if (reclaimed >= scanned)
		return 0;
	if (!thresholds->scale_is_window)
		scale = (uint64_t)scanned + reclaimed;
	return (uint32_t)((scale - reclaimed * scale / scanned) * 100 / scale);
}

static int32_t pfs_level(uint32_t index_percent, const struct pfs_thresholds *thresholds)
{
	if (index_percent >= thresholds->oom)
		return PFS_OOM;
	return index_percent >= thresholds->medium ? PFS_MEDIUM : PFS_LOW;
}

static struct pfs_place **pfs_fanout_bucket(struct pfs_fanout *fanout, uint64_t cgroup)
{
	return &fanout->buckets[cgroup % PFS_BUCKETS];
}

static struct pfs_place *pfs_fanout_find(struct pfs_fanout *fanout, uint64_t cgroup)
{
	struct pfs_place *place = *pfs_fanout_bucket(fanout, cgroup);

	while (place && place->cgroup != cgroup)
		place = place->next;
	return place;
}

/* Whether anybody heard. */
static bool pfs_place_tell(struct pfs_place *place, int level, bool is_ancestor, bool was_heard)
{
	bool heard = false;

	for (struct pfs_listener *one = place->first; one; one = one->next) {
		if (is_ancestor && one->mode == PFS_LOCAL)
			continue;
		if (was_heard && one->mode == PFS_DEFAULT)
			continue;
		if (level < one->level)
			continue;
		if (one->uring)
			pfs_uring_signal(one->uring);
		heard = true;
	}
	return heard;
}

/* Judge a window and tell who listens, from the target upwards. */
void pfs_fanout_tell(struct pfs_fanout *fanout, const struct pfs_window *window, struct pfs_told *told)
{
	uint64_t listening = window->listening == fanout->top ? PFS_MACHINE : window->listening;
	bool is_ancestor = window->cgroup != listening;
	bool was_heard = false;
	struct pfs_place *place;

	pthread_mutex_lock(&pfs_signalling);
	place = pfs_fanout_find(fanout, listening);
	told->window = *window;
	told->index_percent = pfs_index(window->scanned, window->reclaimed, &fanout->thresholds);
	told->level = pfs_level(told->index_percent, &fanout->thresholds);
	told->is_told = place != NULL;
	for (; place; place = place->parent) {
		if (pfs_place_tell(place, told->level, is_ancestor, was_heard))
			was_heard = true;
		is_ancestor = true;
	}
	pthread_mutex_unlock(&pfs_signalling);
}

/* Say to the BPF program whether a cgroup is listened to. */
static int pfs_fanout_mark(const struct pfs_fanout *fanout, uint64_t cgroup, bool is_listened)
{
	uint8_t yes = 1;
	union bpf_attr attr;
	int marked = 0;

	memset(&attr, 0, sizeof(attr));
	attr.key = (uint64_t)(uintptr_t)&cgroup;
	if (is_listened)
		attr.value = (uint64_t)(uintptr_t)&yes;
	pthread_mutex_lock(&pfs_sharing);
	if (fanout->listening_fd >= 0) {
		attr.map_fd = (uint32_t)fanout->listening_fd;
		marked = (int)syscall(SYS_bpf, is_listened ? BPF_MAP_UPDATE_ELEM : BPF_MAP_DELETE_ELEM, &attr,
				      sizeof(attr));
	}
	pthread_mutex_unlock(&pfs_sharing);
	return marked;
}

static int pfs_fanout_mark_place(const struct pfs_fanout *fanout, uint64_t cgroup, bool is_listened)
{
	/* What was reached in the walk from a cgroup upwards has a number; the machine's own reclaim has none. */
	if (cgroup == PFS_MACHINE && fanout->top != PFS_MACHINE &&
	    pfs_fanout_mark(fanout, fanout->top, is_listened) < 0)
		return -1;
	return pfs_fanout_mark(fanout, cgroup, is_listened);
}

/* `top`: the inode number of the cgroup tree's root, or PFS_MACHINE where no cgroup can be listened to. */
struct pfs_fanout *pfs_fanout_open(uint64_t top)
{
	struct pfs_fanout *fanout = calloc(1, sizeof(*fanout));

	if (!fanout)
		return NULL;
	fanout->top = top;
	fanout->listening_fd = -1;
	fanout->cold_fd = -1;
	return fanout;
}

void pfs_fanout_tune(struct pfs_fanout *fanout, const struct pfs_thresholds *thresholds)
{
	pthread_mutex_lock(&pfs_signalling);
	fanout->thresholds = *thresholds;
	pthread_mutex_unlock(&pfs_signalling);
	pthread_mutex_lock(&pfs_sharing);
	if (fanout->shared) {
		__atomic_store_n(&fanout->shared->window_pages, thresholds->window_pages, __ATOMIC_RELAXED);
		__atomic_store_n(&fanout->shared->oom_priority, thresholds->oom_priority, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&pfs_sharing);
}

/* From here on tell the BPF program what it must know. */
int pfs_fanout_attach(struct pfs_fanout *fanout, int listening_fd, void *shared)
{
	struct pfs_thresholds thresholds = fanout->thresholds;

	pthread_mutex_lock(&pfs_sharing);
	fanout->listening_fd = listening_fd;
	fanout->shared = shared;
	pthread_mutex_unlock(&pfs_sharing);
	pfs_fanout_tune(fanout, &thresholds);
	for (size_t at = 0; at < PFS_BUCKETS; at++)
		for (struct pfs_place *place = fanout->buckets[at]; place; place = place->next)
			if (pfs_fanout_mark_place(fanout, place->cgroup, true) < 0)
				return -1;
	return 0;
}

/* Its map and its memory are about to go. */
void pfs_fanout_detach(struct pfs_fanout *fanout)
{
	pthread_mutex_lock(&pfs_sharing);
	fanout->listening_fd = -1;
	fanout->shared = NULL;
	pthread_mutex_unlock(&pfs_sharing);
}

static void pfs_fanout_unlink(struct pfs_fanout *fanout, struct pfs_place *place)
{
	struct pfs_place **at = pfs_fanout_bucket(fanout, place->cgroup);

	pthread_mutex_lock(&pfs_signalling);
	while (*at != place)
		at = &(*at)->next;
	*at = place->next;
	pthread_mutex_unlock(&pfs_signalling);
}

/* The place of a cgroup, made below `parent` if there is none; NULL and errno. The
 * program is told last: what it says of a place must find it, and all above it. */
struct pfs_place *pfs_fanout_place(struct pfs_fanout *fanout, uint64_t cgroup, struct pfs_place *parent)
{
	struct pfs_place *place = pfs_fanout_find(fanout, cgroup);

	if (place)
		return place;
	place = calloc(1, sizeof(*place));
	if (!place)
		return NULL;
	place->cgroup = cgroup;
	place->parent = parent;
	pthread_mutex_lock(&pfs_signalling);
	place->next = *pfs_fanout_bucket(fanout, cgroup);
	*pfs_fanout_bucket(fanout, cgroup) = place;
	pthread_mutex_unlock(&pfs_signalling);
	if (pfs_fanout_mark_place(fanout, cgroup, true) < 0) {
		int saved = errno;

		pfs_fanout_unlink(fanout, place);
		free(place);
		errno = saved;
		return NULL;
	}
	return place;
}

void pfs_fanout_set_parent(struct pfs_place *place, struct pfs_place *parent)
{
	pthread_mutex_lock(&pfs_signalling);
	place->parent = parent;
	pthread_mutex_unlock(&pfs_signalling);
}

/* Nobody listens there any more, and no place has it as parent. What the program has
 * said of it and the reader has not read is left to Python. */
void pfs_fanout_drop_place(struct pfs_fanout *fanout, struct pfs_place *place)
{
	/* A removed cgroup's number is never used again: a row that stays costs its memory, no event. */
	pfs_fanout_mark_place(fanout, place->cgroup, false);
	pfs_fanout_unlink(fanout, place);
	free(place);
}

/* Submit nothing to the ring of each listener that came since the last time. The kernel
 * allocates a node for a thread's first submission to a ring; so this is the reader's
 * to do, before it has anything to tell. */
void pfs_fanout_warm(struct pfs_fanout *fanout)
{
	pthread_mutex_lock(&pfs_signalling);
	for (; fanout->cold; fanout->cold = fanout->cold->next_cold)
		syscall(SYS_io_uring_enter, fanout->cold->uring->fd, 1, 0, 0, NULL, 0);
	pthread_mutex_unlock(&pfs_signalling);
}

/* `cold_fd`: an eventfd of the reader's, which does not block; -1: the reader ends. */
void pfs_fanout_warn_of_cold(struct pfs_fanout *fanout, int cold_fd)
{
	pthread_mutex_lock(&pfs_signalling);
	fanout->cold_fd = cold_fd;
	pthread_mutex_unlock(&pfs_signalling);
}

struct pfs_listener *pfs_place_add(struct pfs_fanout *fanout, struct pfs_place *place,
					  struct pfs_uring *uring, int level, int mode)
{
	struct pfs_listener *listener = calloc(1, sizeof(*listener));

	if (!listener)
		return NULL;
	listener->uring = uring;
	listener->level = level;
	listener->mode = mode;
	listener->place = place;
	pthread_mutex_lock(&pfs_signalling);
	listener->before = place->last;
	if (place->last)
		place->last->next = listener;
	else
		place->first = listener;
	place->last = listener;
	if (uring) {
		listener->next_cold = fanout->cold;
		fanout->cold = listener;
		/* A counter that is full wakes the reader no less. */
		if (fanout->cold_fd >= 0)
			eventfd_write(fanout->cold_fd, 1);
	}
	pthread_mutex_unlock(&pfs_signalling);
	return listener;
}

/* The ring is not used any more when this returns; whether anybody is left there. */
int pfs_listener_drop(struct pfs_fanout *fanout, struct pfs_listener *listener)
{
	struct pfs_place *place = listener->place;
	struct pfs_listener **cold = &fanout->cold;

	pthread_mutex_lock(&pfs_signalling);
	while (*cold && *cold != listener)
		cold = &(*cold)->next_cold;
	if (*cold)
		*cold = listener->next_cold;
	if (listener->before)
		listener->before->next = listener->next;
	else
		place->first = listener->next;
	if (listener->next)
		listener->next->before = listener->before;
	else
		place->last = listener->before;
	pthread_mutex_unlock(&pfs_signalling);
	free(listener);
	return place->first != NULL;
}


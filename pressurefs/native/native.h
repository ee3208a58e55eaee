/* SPDX-License-Identifier: MIT */
/* What the C files of the compiled module share, beside what Python calls. */
#ifndef PFS_NATIVE_H
#define PFS_NATIVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../bpf/shared.h"

#include "native.cdef.h"

#define PFS_BUCKETS 1024
#define PFS_HISTORY_WINDOWS 4096
#define PFS_NO_ROW (-1)

/* Whoever walks, and whoever changes what is walked over, holds it. Nothing under it
 * allocates or waits. A thread that waits for it lends its priority to the holder. */
extern pthread_mutex_t pfs_event_lock;

struct pfs_uring {
	int fd;
	uint32_t entries_mask;
	uint32_t *sq_head;
	uint32_t *sq_tail;
	uint32_t *sq_array;
	uint32_t *cq_head;
	uint32_t *cq_tail;
	struct io_uring_sqe *sqes;
	void *rings_map;
	size_t rings_size;
	size_t sqes_size;
};

/* A cgroup that has listeners. It knows its parent, the nearest such above it, by
 * number, so that it cannot point to one that is gone; its own number: none. */
struct pfs_place {
	uint64_t cgroup;
	uint64_t parent;
	int32_t first;
	int32_t last;
	struct pfs_place *next;
};

/* What is derived from a listener's row: its place in the lists, how to reach it. */
struct pfs_link {
	struct pfs_place *place;
	void *handle; /* struct pfs_uring or struct pfs_poll, by the listener's target */
	int32_t before;
	int32_t next;
	int32_t before_cold; /* among those whose io_uring the event thread has not used */
	int32_t next_cold;
	bool is_cold;
	bool is_dead; /* its eventfd is closed: it hears nothing, until it is dropped */
};

struct pfs_event_path {
	uint64_t top; /* the number of the directory whose place is the machine's */
	struct pfs_thresholds thresholds;
	struct pfs_listener *listeners;
	struct pfs_link *links;
	size_t listeners_max;
	int32_t free_row;
	int32_t unused_row; /* this and all after it were never used */
	uint64_t newest;    /* the last token that was given */
	struct pfs_place *buckets[PFS_BUCKETS];
	size_t places;
	int32_t cold;
	int cold_fd; /* an eventfd by which the reader learns of them; -1: no reader */
	struct pfs_aio *aio;
	uint64_t signals_lost;
	int lost_error;
	struct pfs_judged *history;
	uint64_t history_head;
	/* The BPF program's; under a lock of their own, see bpf_maps.c. */
	int listening_fd;
	struct pfs_shared *shared;
};

/* Close without losing the errno of what failed before. */
void pfs_close(int fd);

int pfs_rows_add(struct pfs_rows *rows, int event_fd, uint64_t token);
int pfs_uring_signal(struct pfs_uring *uring);

/* A signal by AIO is sent with others: when 64 have come together, and at a flush.
 * Both answer how many of them were lost; errno says why. */
size_t pfs_aio_signal(struct pfs_aio *aio, int event_fd);
size_t pfs_aio_flush(struct pfs_aio *aio);

void pfs_poll_signal(struct pfs_poll *poll);

/* The first window since the `from`th that history still has; the lock is held. */
uint64_t pfs_history_oldest(const struct pfs_event_path *path, uint64_t from);
struct pfs_judged *pfs_history_next(struct pfs_event_path *path);

struct pfs_place *pfs_place_find(const struct pfs_event_path *path, uint64_t cgroup);
struct pfs_place *pfs_place_parent(const struct pfs_event_path *path, const struct pfs_place *place);
struct pfs_place *pfs_place_open(struct pfs_event_path *path, uint64_t cgroup, uint64_t parent);
void pfs_place_close(struct pfs_event_path *path, struct pfs_place *place);
void pfs_listener_signal(struct pfs_event_path *path, int32_t row);
void pfs_signals_flush(struct pfs_event_path *path);
void pfs_walk(struct pfs_event_path *path, struct pfs_judged *judged);
void pfs_listeners_warm(struct pfs_event_path *path);
void pfs_listeners_warn_of_cold(struct pfs_event_path *path, int cold_fd);
int pfs_bpf_mark(const struct pfs_event_path *path, uint64_t cgroup, bool is_listened);
void pfs_bpf_tune(struct pfs_event_path *path);

#endif

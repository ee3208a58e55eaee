/* SPDX-License-Identifier: MIT */
/* What the C files of the compiled module say to each other, beside what Python calls. */
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
	uint64_t signals_sent;
};

/* Guards every io_uring in use, and the listeners. */
extern pthread_mutex_t pfs_signalling;

/* Close without losing the errno of what failed before. */
void pfs_close(int fd);

int pfs_rows_add(struct pfs_rows *rows, int event_fd, uint64_t token);
int pfs_uring_signal(struct pfs_uring *uring);
void pfs_fanout_warm(struct pfs_fanout *fanout);
void pfs_fanout_warn_of_cold(struct pfs_fanout *fanout, int cold_fd);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Signals an eventfd without owning it, by an io_uring.
 *
 * Some facts about an eventfd and an io_uring
 *
 * IORING_REGISTER_EVENTFD makes an io_uring hold the eventfd's context: the counter
 * and its wait queue, not the open file.  A completion adds one to
 * the counter by the path that the kernel itself uses (eventfd_signal): it
 * never blocks, and a full counter saturates at 2^64-1, which pollers see as
 * POLLERR.  The last close of the eventfd is a real last close, whatever
 * io_urings there are; a signal after that adds to a counter that no process can read.
 *
 * The kernel signals once for a system call, not once for a completion: five
 * NOPs in one io_uring_enter add one.  So a signal is one NOP, one enter.
 *
 * It signals only when a completion was posted.  The completion queue has two
 * places here, and a full one posts to an overflow list instead: the queue is
 * emptied after each NOP.
 *
 * An io_uring allocates its first requests when it is first used.  Under the memory
 * pressure that we report, that allocation would wait for reclaim; so an io_uring is
 * used once before the eventfd is tied to it, and signals recycle that request.
 */

#include "native.h"

#include <stdlib.h>
#include <string.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PFS_NOP_ATTEMPTS 8

static int pfs_uring_map(struct pfs_uring *uring, const struct io_uring_params *params)
{
	size_t sq_size = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
	size_t cq_size = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	char *base;

	/* One mapping holds both queues since 5.4. */
	if (!(params->features & IORING_FEAT_SINGLE_MMAP)) {
		errno = ENOSYS;
		return -1;
	}
	uring->rings_size = sq_size > cq_size ? sq_size : cq_size;
	uring->rings_map = mmap(NULL, uring->rings_size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_POPULATE, uring->fd, IORING_OFF_SQ_RING);
	if (uring->rings_map == MAP_FAILED)
		return -1;
	uring->sqes_size = params->sq_entries * sizeof(struct io_uring_sqe);
	uring->sqes = mmap(NULL, uring->sqes_size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, uring->fd, IORING_OFF_SQES);
	if (uring->sqes == MAP_FAILED)
		return -1;

	base = uring->rings_map;
	uring->sq_head = (uint32_t *)(void *)(base + params->sq_off.head);
	uring->sq_tail = (uint32_t *)(void *)(base + params->sq_off.tail);
	uring->sq_array = (uint32_t *)(void *)(base + params->sq_off.array);
	uring->cq_head = (uint32_t *)(void *)(base + params->cq_off.head);
	uring->cq_tail = (uint32_t *)(void *)(base + params->cq_off.tail);
	uring->entries_mask = params->sq_entries - 1;
	return 0;
}

/* One NOP, submitted and reaped.  Nothing here waits: a NOP completes within
 * io_uring_enter, and no completion is waited for. */
static int pfs_uring_nop(struct pfs_uring *uring)
{
	uint32_t tail = *uring->sq_tail;
	uint32_t slot = tail & uring->entries_mask;
	long submitted = 0;

	memset(&uring->sqes[slot], 0, sizeof(uring->sqes[slot]));
	uring->sqes[slot].opcode = IORING_OP_NOP;
	uring->sqes[slot].fd = -1;
	uring->sq_array[slot] = slot;
	__atomic_store_n(uring->sq_tail, tail + 1, __ATOMIC_RELEASE);

	/* A few times: the kernel may be short of memory for a moment. */
	for (int attempt = 0; attempt < PFS_NOP_ATTEMPTS; attempt++) {
		submitted = syscall(SYS_io_uring_enter, uring->fd, 1, 0, 0, NULL, 0);
		__atomic_store_n(uring->cq_head, __atomic_load_n(uring->cq_tail, __ATOMIC_ACQUIRE),
				 __ATOMIC_RELEASE);
		if (__atomic_load_n(uring->sq_head, __ATOMIC_ACQUIRE) == tail + 1)
			return 0;
		if (submitted < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY && errno != ENOMEM)
			break;
	}
	/* Not taken: the entry must not be submitted with the next signal. */
	__atomic_store_n(uring->sq_tail, tail, __ATOMIC_RELEASE);
	if (submitted >= 0)
		errno = EAGAIN;
	return -1;
}

void pfs_uring_close(struct pfs_uring *uring)
{
	int saved = errno;

	if (uring->sqes != MAP_FAILED)
		munmap(uring->sqes, uring->sqes_size);
	if (uring->rings_map != MAP_FAILED)
		munmap(uring->rings_map, uring->rings_size);
	if (uring->fd >= 0)
		close(uring->fd);
	free(uring);
	errno = saved;
}

/* An io_uring that is tied to no eventfd yet. */
struct pfs_uring *pfs_uring_open(void)
{
	struct io_uring_params params;
	struct pfs_uring *uring = calloc(1, sizeof(*uring));

	if (!uring)
		return NULL;
	memset(&params, 0, sizeof(params));
	uring->rings_map = MAP_FAILED;
	uring->sqes = MAP_FAILED;
	uring->fd = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (uring->fd < 0 || pfs_uring_map(uring, &params) < 0 || pfs_uring_nop(uring) < 0) {
		pfs_uring_close(uring);
		return NULL;
	}
	return uring;
}

/* Tie an io_uring to an eventfd's counter.  The kernel refuses what is no eventfd:
 * EINVAL, or EBADF for one that was opened with O_PATH. */
int pfs_uring_tie(struct pfs_uring *uring, int event_fd)
{
	return (int)syscall(SYS_io_uring_register, uring->fd, IORING_REGISTER_EVENTFD, &event_fd, 1);
}

/* Untie the counter, if there is one; the io_uring can be tied to another. */
int pfs_uring_untie(struct pfs_uring *uring)
{
	int untied = (int)syscall(SYS_io_uring_register, uring->fd, IORING_UNREGISTER_EVENTFD, NULL, 0);

	return untied < 0 && errno == ENXIO ? 0 : untied;
}

/* Tie an io_uring to what was taken, add its row, close it.  Answers the step that
 * failed, with its errno, or PFS_KEPT.  What is no eventfd, PFS_TIE and EINVAL,
 * stays open: see Taker. */
int pfs_uring_keep_taken(struct pfs_uring *uring, struct pfs_rows *rows, int taken, uint64_t token)
{
	int step = PFS_KEPT;

	if (pfs_uring_tie(uring, taken) < 0) {
		if (errno == EINVAL)
			return PFS_TIE;
		step = PFS_TIE;
	} else if (pfs_rows_add(rows, taken, token) < 0) {
		step = PFS_ROW;
	}
	pfs_close(taken);
	return step;
}

/* The whole way of a registration, in one call since each call from Python costs
 * as much as a system call.  Answers as pfs_uring_keep_taken() does. */
int pfs_uring_keep(struct pfs_uring *uring, struct pfs_writer *writer, struct pfs_rows *rows,
			 int tid, int target_fd, uint64_t token, int *taken)
{
	if (pfs_look(tid, target_fd) < 0)
		return PFS_LOOK;
	*taken = pfs_take(writer, tid, 1, target_fd);
	if (*taken < 0)
		return PFS_TAKE;
	return pfs_uring_keep_taken(uring, rows, *taken, token);
}

int pfs_uring_signal(struct pfs_uring *uring)
{
	return pfs_uring_nop(uring);
}

int pfs_uring_fd(const struct pfs_uring *uring)
{
	return uring->fd;
}

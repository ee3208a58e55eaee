/* SPDX-License-Identifier: MIT */
/*
 * The system calls that Python does not have: take a descriptor of another
 * process, watch an eventfd without holding it, signal it without owning it.
 *
 * Some facts about an eventfd and an io_uring
 *
 * IORING_REGISTER_EVENTFD makes a ring hold the eventfd's context: the counter
 * and its wait queue, not the open file.  A completion on the ring adds one to
 * the counter by the path that the kernel itself uses (eventfd_signal): it
 * never blocks, and a full counter saturates at 2^64-1, which pollers see as
 * POLLERR.  The last close of the eventfd is a real last close, whatever rings
 * there are; a signal after that adds to a counter that nobody can read.
 *
 * The kernel signals once for a system call, not once for a completion: five
 * NOPs in one io_uring_enter add one.  So a signal is one NOP, one enter.
 *
 * It signals only when a completion was posted.  The completion queue has two
 * places here, and a full one posts to an overflow list instead: the queue is
 * emptied after each NOP.
 *
 * A ring allocates its first requests when it is first used.  Under the memory
 * pressure that we report, that allocation would wait for reclaim; so a ring is
 * used once before the eventfd is tied to it, and signals recycle that request.
 *
 * An epoll set holds no reference on what it watches.  Its row, shown in
 * /proc/self/fdinfo/<epoll fd>, goes at the file's last close, whoever held it.
 * Rows are told apart by (open file, descriptor number): see signaller/uring.py.
 */

#ifndef PFS_NATIVE_C
#define PFS_NATIVE_C

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/io_uring.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* PIDFD_THREAD, Linux 6.9: the same bit as O_EXCL; headers of Debian 12 are older. */
#define PFS_PIDFD_THREAD O_EXCL

#define PFS_NOP_ATTEMPTS 8

/* The steps of pfs_ring_keep(). */
enum { PFS_KEPT, PFS_LOOK, PFS_TAKE, PFS_TIE, PFS_ROW };

/* The process or thread that a descriptor was last taken from. */
struct pfs_writer {
	int pid;
	int flags;
	int pidfd;
};

/* An epoll set of rows, and the number that the next one is tried under. */
struct pfs_rows {
	int epoll_fd;
	int next_fd;
	int end_fd;
};

struct pfs_ring {
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

/* A ring is used by one thread at a time. Who waits here lends its priority to
 * who is at work: the event path does not wait for a thread that has no turn. */
static pthread_mutex_t pfs_signalling;

__attribute__((constructor)) static void pfs_signalling_init(void)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&pfs_signalling, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

/* Close without losing the errno of what failed before. */
static void pfs_close(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
}

/* Refuse with EINVAL what /proc does not show as an eventfd, before anything is
 * taken.  This asks nothing of the file: see caller.py. */
static int pfs_look(int tid, int target_fd)
{
	static const char eventfd_link[] = "anon_inode:[eventfd]";
	char path[sizeof("/proc//fd/") + 2 * 11];
	char shown[sizeof(eventfd_link)];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%d/fd/%u", tid, (unsigned int)target_fd);
	length = readlink(path, shown, sizeof(shown));
	if (length < 0)
		return -1;
	if ((size_t)length == sizeof(eventfd_link) - 1 && !memcmp(shown, eventfd_link, (size_t)length))
		return 0;
	errno = EINVAL;
	return -1;
}

/* Duplicate a descriptor of another process.  As a thread, it need not lead
 * its process, and its own descriptor table counts: EINVAL before Linux 6.9.
 *
 * Opening a pidfd takes longer than all the rest, and a program registers more
 * than once: so the last one is kept.  While somebody has its number, a kept
 * pidfd means whom the number means; once nobody has, it is ESRCH for ever. */
static int pfs_take(struct pfs_writer *writer, int pid, int as_thread, int target_fd)
{
	int flags = as_thread ? PFS_PIDFD_THREAD : 0;
	int taken;

	if (writer->pidfd >= 0 && writer->pid == pid && writer->flags == flags) {
		taken = (int)syscall(SYS_pidfd_getfd, writer->pidfd, target_fd, 0);
		if (taken >= 0 || errno != ESRCH)
			return taken;
	}
	if (writer->pidfd >= 0)
		close(writer->pidfd);
	writer->pid = pid;
	writer->flags = flags;
	writer->pidfd = (int)syscall(SYS_pidfd_open, pid, flags);
	if (writer->pidfd < 0)
		return -1;
	return (int)syscall(SYS_pidfd_getfd, writer->pidfd, target_fd, 0);
}

/* How a thread's open file and one of ours lie in an order that the kernel keeps
 * among all open files: 0, the same; 1, the thread's comes before; 2, after; or
 * -1.  The kernel compares; no file is asked. */
static int pfs_file_order(int tid, int target_fd, int own_fd)
{
	return (int)syscall(SYS_kcmp, tid, getpid(), KCMP_FILE, target_fd, own_fd);
}

/* Whether two threads share a descriptor table: 1, 0, or -1. */
static int pfs_same_table(int tid, int other_tid)
{
	long order = syscall(SYS_kcmp, tid, other_tid, KCMP_FILES, 0, 0);

	return order < 0 ? -1 : order == 0;
}

/* Add a row for an eventfd, under a number that no row of it has yet: its own,
 * or one of those from `next_fd` on, round and round below `end_fd`.  No events
 * are asked for: the row itself is the message.  EEXIST: every number has one. */
static int pfs_rows_add(struct pfs_rows *rows, int event_fd, uint64_t token)
{
	struct epoll_event row = { .events = 0, .data = { .u64 = token } };

	if (epoll_ctl(rows->epoll_fd, EPOLL_CTL_ADD, event_fd, &row) == 0)
		return 0;
	if (errno != EEXIST)
		return -1;
	for (int attempt = 0; attempt < rows->end_fd; attempt++) {
		int moved = fcntl(event_fd, F_DUPFD_CLOEXEC, rows->next_fd);
		int added;

		if (moved < 0 && rows->next_fd > 0 && (errno == EINVAL || errno == EMFILE)) {
			/* Past our limit, or nothing is free from there on. */
			rows->next_fd = 0;
			continue;
		}
		if (moved < 0)
			return -1;
		rows->next_fd = moved + 1 < rows->end_fd ? moved + 1 : 0;
		added = epoll_ctl(rows->epoll_fd, EPOLL_CTL_ADD, moved, &row);
		pfs_close(moved);
		if (added == 0 || errno != EEXIST)
			return added;
	}
	return -1;
}

static int pfs_ring_map(struct pfs_ring *ring, const struct io_uring_params *params)
{
	size_t sq_size = params->sq_off.array + params->sq_entries * sizeof(uint32_t);
	size_t cq_size = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	char *base;

	/* One mapping holds both queues since 5.4. */
	if (!(params->features & IORING_FEAT_SINGLE_MMAP)) {
		errno = ENOSYS;
		return -1;
	}
	ring->rings_size = sq_size > cq_size ? sq_size : cq_size;
	ring->rings_map = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	if (ring->rings_map == MAP_FAILED)
		return -1;
	ring->sqes_size = params->sq_entries * sizeof(struct io_uring_sqe);
	ring->sqes = mmap(NULL, ring->sqes_size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	if (ring->sqes == MAP_FAILED)
		return -1;

	base = ring->rings_map;
	ring->sq_head = (uint32_t *)(void *)(base + params->sq_off.head);
	ring->sq_tail = (uint32_t *)(void *)(base + params->sq_off.tail);
	ring->sq_array = (uint32_t *)(void *)(base + params->sq_off.array);
	ring->cq_head = (uint32_t *)(void *)(base + params->cq_off.head);
	ring->cq_tail = (uint32_t *)(void *)(base + params->cq_off.tail);
	ring->entries_mask = params->sq_entries - 1;
	return 0;
}

/* One NOP, submitted and reaped.  Nothing here waits: a NOP completes within
 * io_uring_enter, and no completion is waited for. */
static int pfs_ring_nop(struct pfs_ring *ring)
{
	uint32_t tail = *ring->sq_tail;
	uint32_t slot = tail & ring->entries_mask;
	long submitted = 0;

	memset(&ring->sqes[slot], 0, sizeof(ring->sqes[slot]));
	ring->sqes[slot].opcode = IORING_OP_NOP;
	ring->sqes[slot].fd = -1;
	ring->sq_array[slot] = slot;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);

	/* A few times: the kernel may be short of memory for a moment. */
	for (int attempt = 0; attempt < PFS_NOP_ATTEMPTS; attempt++) {
		submitted = syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0);
		__atomic_store_n(ring->cq_head, __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE),
				 __ATOMIC_RELEASE);
		if (__atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE) == tail + 1)
			return 0;
		if (submitted < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY && errno != ENOMEM)
			break;
	}
	/* Not taken: the entry must not be submitted with the next signal. */
	__atomic_store_n(ring->sq_tail, tail, __ATOMIC_RELEASE);
	if (submitted >= 0)
		errno = EAGAIN;
	return -1;
}

static void pfs_ring_close(struct pfs_ring *ring)
{
	int saved = errno;

	if (ring->sqes != MAP_FAILED)
		munmap(ring->sqes, ring->sqes_size);
	if (ring->rings_map != MAP_FAILED)
		munmap(ring->rings_map, ring->rings_size);
	if (ring->fd >= 0)
		close(ring->fd);
	free(ring);
	errno = saved;
}

/* A ring that is tied to nothing yet. */
static struct pfs_ring *pfs_ring_open(void)
{
	struct io_uring_params params;
	struct pfs_ring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return NULL;
	memset(&params, 0, sizeof(params));
	ring->rings_map = MAP_FAILED;
	ring->sqes = MAP_FAILED;
	ring->fd = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (ring->fd < 0 || pfs_ring_map(ring, &params) < 0 || pfs_ring_nop(ring) < 0) {
		pfs_ring_close(ring);
		return NULL;
	}
	return ring;
}

/* Tie a ring to an eventfd's counter.  The kernel says what is no eventfd:
 * EINVAL, or EBADF for one that was opened with O_PATH. */
static int pfs_ring_tie(struct pfs_ring *ring, int event_fd)
{
	ring->signals_sent = 0;
	return (int)syscall(SYS_io_uring_register, ring->fd, IORING_REGISTER_EVENTFD, &event_fd, 1);
}

/* Let go of the counter, if there is one; the ring may be tied to another. */
static int pfs_ring_untie(struct pfs_ring *ring)
{
	int untied = (int)syscall(SYS_io_uring_register, ring->fd, IORING_UNREGISTER_EVENTFD, NULL, 0);

	return untied < 0 && errno == ENXIO ? 0 : untied;
}

/* Tie a ring to what was taken, add its row, close it.  Answers the step that
 * failed, with its errno, or PFS_KEPT.  What is no eventfd, PFS_TIE and EINVAL,
 * stays open: see Taker. */
static int pfs_ring_keep_taken(struct pfs_ring *ring, struct pfs_rows *rows, int taken, uint64_t token)
{
	int step = PFS_KEPT;

	if (pfs_ring_tie(ring, taken) < 0) {
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
 * as much as a system call.  Answers as pfs_ring_keep_taken() does. */
static int pfs_ring_keep(struct pfs_ring *ring, struct pfs_writer *writer, struct pfs_rows *rows,
			 int tid, int target_fd, uint64_t token, int *taken)
{
	if (pfs_look(tid, target_fd) < 0)
		return PFS_LOOK;
	*taken = pfs_take(writer, tid, 1, target_fd);
	if (*taken < 0)
		return PFS_TAKE;
	return pfs_ring_keep_taken(ring, rows, *taken, token);
}

static int pfs_ring_signal(struct pfs_ring *ring)
{
	if (pfs_ring_nop(ring) < 0)
		return -1;
	ring->signals_sent++;
	return 0;
}

/* Signal every ring, whatever happens to one of them; the number signalled. */
static size_t pfs_ring_signal_all(struct pfs_ring **rings, size_t count)
{
	size_t signalled = 0;

	pthread_mutex_lock(&pfs_signalling);
	for (size_t i = 0; i < count; i++)
		if (pfs_ring_signal(rings[i]) == 0)
			signalled++;
	pthread_mutex_unlock(&pfs_signalling);
	return signalled;
}

static uint64_t pfs_ring_signals_sent(const struct pfs_ring *ring)
{
	return ring->signals_sent;
}

#endif

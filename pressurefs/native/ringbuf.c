/* SPDX-License-Identifier: MIT */
/*
 * The thread that reads the BPF program's ring buffer: each full window enters the
 * event path at windows.c.
 *
 * Some facts about a BPF ring buffer
 *
 * Its map can be mapped: one page that the consumer writes (how far it has
 * read), one that the kernel writes (how far it has written), then the records,
 * mapped twice in a row so that none is ever torn at the end. A record begins
 * with its length; the highest bit says that it is still being written, the next
 * one that it was given up. The map can be polled: a waiting thread is woken when
 * the record that is the next to be read is committed. So the position is stored after
 * each record. A record that is still being written makes the map readable, too;
 * a thread of real-time priority that came back for it at once could keep its
 * writer from the processor for ever. Hence EPOLLET, which waits for the commit.
 */

#include "native.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

struct pfs_reader {
	struct pfs_event_path *path;
	int wait_fd; /* the map of the ring buffer */
	int stop_fd;
	int epoll_fd;
	int told_fd; /* an eventfd that says that windows were judged */
	int cold_fd; /* an eventfd that says that there are cold listeners */
	size_t page_size;
	size_t ring_bytes;
	uint64_t *consumed;
	const uint64_t *produced;
	const char *records;
	size_t records_size;
	pthread_t thread;
};

/* Whether a window was read. */
static bool pfs_reader_drain(struct pfs_reader *reader)
{
	uint64_t at = *reader->consumed;
	bool any = false;

	while (at < __atomic_load_n(reader->produced, __ATOMIC_ACQUIRE)) {
		const char *record = reader->records + (at & (reader->ring_bytes - 1));
		uint32_t header = __atomic_load_n((const uint32_t *)(const void *)record, __ATOMIC_ACQUIRE);
		uint32_t length = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

		if (header & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(header & BPF_RINGBUF_DISCARD_BIT) && length == sizeof(struct pfs_window)) {
			struct pfs_window window;

			memcpy(&window, record + BPF_RINGBUF_HDR_SZ, sizeof(window));
			pfs_windows_fill(reader->path, &window);
			any = true;
		}
		at += (length + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
		__atomic_store_n(reader->consumed, at, __ATOMIC_RELEASE);
		/* Either the kernel sees this position when it commits the next record, and
		 * awakens us, or we see that record here. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	}
	return any;
}

static int pfs_reader_await(struct pfs_reader *reader, int fd)
{
	struct epoll_event awaited = { .events = EPOLLIN | EPOLLET, .data = { .fd = fd } };

	return epoll_ctl(reader->epoll_fd, EPOLL_CTL_ADD, fd, &awaited);
}

static void *pfs_reader_run(void *argument)
{
	struct pfs_reader *reader = argument;
	struct sched_param first = { .sched_priority = 1 };
	struct epoll_event awaited = { .data = { .fd = reader->wait_fd } };
	struct pfs_judged nowhere = { .listening = UINT64_MAX };
	uint64_t one = 1;

	/* Run at real-time priority where allowed, so that the memory hog cannot delay this
	 * thread (the kernel's worker has no such priority). */
	pthread_setschedparam(pthread_self(), SCHED_FIFO | SCHED_RESET_ON_FORK, &first);
	/* A page that is touched first under pressure must be found under pressure: code, stack, the lock. */
	pthread_mutex_lock(&pfs_event_lock);
	pfs_walk(reader->path, &nowhere);
	pthread_mutex_unlock(&pfs_event_lock);
	while (awaited.data.fd != reader->stop_fd) {
		pfs_listeners_warm(reader->path);
		/* A counter that is full tells Python no less. */
		if (pfs_reader_drain(reader) && write(reader->told_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
			break;
		if (epoll_wait(reader->epoll_fd, &awaited, 1, -1) < 0 && errno != EINTR)
			break;
	}
	return NULL;
}

/* Everything that is open or mapped; the thread has ended or was never begun. */
static void pfs_reader_free(struct pfs_reader *reader)
{
	int saved = errno;

	if (reader->records != MAP_FAILED)
		munmap((void *)(uintptr_t)reader->produced, reader->records_size);
	if (reader->consumed != MAP_FAILED)
		munmap(reader->consumed, reader->page_size);
	if (reader->epoll_fd >= 0)
		close(reader->epoll_fd);
	if (reader->cold_fd >= 0)
		close(reader->cold_fd);
	if (reader->stop_fd >= 0)
		close(reader->stop_fd);
	free(reader);
	errno = saved;
}

/* Begin to read a ring buffer of `ring_bytes`, mapped from `map_fd`; `wait_fd` becomes
 * readable with a record (the same descriptor, but for tests). `told_fd`: an eventfd that
 * does not block, which says that windows were judged. */
struct pfs_reader *pfs_reader_open(struct pfs_event_path *path, int map_fd, int wait_fd, size_t ring_bytes,
				   int told_fd)
{
	struct pfs_reader *reader = calloc(1, sizeof(*reader));
	sigset_t all, before;
	void *mapped;

	if (!reader)
		return NULL;
	reader->path = path;
	reader->wait_fd = wait_fd;
	reader->told_fd = told_fd;
	reader->ring_bytes = ring_bytes;
	reader->page_size = (size_t)sysconf(_SC_PAGESIZE);
	reader->records = MAP_FAILED;
	reader->consumed = mmap(NULL, reader->page_size, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
	reader->stop_fd = eventfd(0, EFD_CLOEXEC);
	reader->cold_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	reader->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (reader->consumed == MAP_FAILED || reader->stop_fd < 0 || reader->cold_fd < 0 || reader->epoll_fd < 0 ||
	    pfs_reader_await(reader, reader->stop_fd) < 0 || pfs_reader_await(reader, reader->cold_fd) < 0 ||
	    pfs_reader_await(reader, wait_fd) < 0)
		goto failed;
	reader->records_size = reader->page_size + 2 * ring_bytes;
	mapped = mmap(NULL, reader->records_size, PROT_READ, MAP_SHARED | MAP_POPULATE, map_fd,
		      (off_t)reader->page_size);
	if (mapped == MAP_FAILED)
		goto failed;
	reader->produced = mapped;
	reader->records = (const char *)mapped + reader->page_size;
	pfs_listeners_warn_of_cold(path, reader->cold_fd);
	/* Signals are Python's main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errno = pthread_create(&reader->thread, NULL, pfs_reader_run, reader);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!errno)
		return reader;
	pfs_listeners_warn_of_cold(path, -1);
failed:
	pfs_reader_free(reader);
	return NULL;
}

void pfs_reader_close(struct pfs_reader *reader)
{
	uint64_t one = 1;

	pfs_listeners_warn_of_cold(reader->path, -1);
	if (write(reader->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(reader->thread, NULL);
	pfs_reader_free(reader);
}

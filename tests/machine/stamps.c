/* SPDX-License-Identifier: MIT */
/*
 * Says when each event of cgroup v1's memory.pressure_level arrives:
 *
 *     stamps DIR MODE COUNT
 *
 * listens at the three levels of DIR, whoever serves it, with COUNT eventfds at
 * each, and prints "listening".
 * What was read is written at the end, on SIGTERM: a line "nanoseconds level
 * count" for each read(2), with the time of CLOCK_MONOTONIC right after it.  The
 * memory for that is there from the beginning, and locked, and the process is the
 * first to run: what is measured is the way to it, not its own wait for memory or
 * for a processor that a load has.  Without that two of these on the same file of
 * the kernel's differed by up to 5 ms on two emulated processors.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define READS_MAX (1 << 18)
#define COUNT_MAX 1000
#define LEVELS 3

static const char *const NAMES[LEVELS] = { "low", "medium", "critical" };

struct stamp {
	int64_t nanoseconds;
	uint64_t count;
	int level;
};

static struct stamp stamps[READS_MAX];

static void fail(const char *what)
{
	fprintf(stderr, "stamps: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_in(const char *directory, const char *name, int flags)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		fail(directory);
	}
	fd = open(path, flags);
	if (fd < 0)
		fail(path);
	return fd;
}

static void await(int epoll_fd, int fd, int number)
{
	struct epoll_event row = { .events = EPOLLIN, .data = { .u32 = (uint32_t)number } };

	if (fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &row) < 0)
		fail("epoll_ctl");
}

static int listen_at(const char *directory, const char *level, const char *mode)
{
	int event_fd = eventfd(0, EFD_NONBLOCK);
	int level_fd = open_in(directory, "memory.pressure_level", O_RDONLY);
	int control_fd = open_in(directory, "cgroup.event_control", O_WRONLY);
	char line[64];
	int length = snprintf(line, sizeof(line), "%d %d %s,%s", event_fd, level_fd, level, mode);

	if (write(control_fd, line, (size_t)length) != length)
		fail("cgroup.event_control");
	close(control_fd);
	close(level_fd);
	return event_fd;
}

int main(int argc, char **argv)
{
	int epoll_fd = epoll_create1(0);
	static int event_fds[LEVELS * COUNT_MAX];
	int count_each, listeners;
	size_t reads = 0;
	struct sched_param first = { .sched_priority = 10 };
	sigset_t ending;

	count_each = argc == 4 ? atoi(argv[3]) : 0;
	if (count_each < 1 || count_each > COUNT_MAX) {
		fprintf(stderr, "usage: stamps DIR MODE COUNT\n");
		return 2;
	}
	listeners = LEVELS * count_each;
	memset(stamps, 0xff, sizeof(stamps));
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		fail("mlockall");
	if (sched_setscheduler(0, SCHED_FIFO, &first) < 0)
		fail("sched_setscheduler");
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigprocmask(SIG_BLOCK, &ending, NULL);
	await(epoll_fd, signalfd(-1, &ending, 0), listeners);
	for (int at = 0; at < listeners; at++) {
		event_fds[at] = listen_at(argv[1], NAMES[at / count_each], argv[2]);
		await(epoll_fd, event_fds[at], at);
	}
	puts("listening");
	fflush(stdout);

	for (;;) {
		struct epoll_event ready[LEVELS + 1];
		int count = epoll_wait(epoll_fd, ready, LEVELS + 1, -1);

		for (int at = 0; at < count; at++) {
			int listener = (int)ready[at].data.u32;
			struct timespec now;
			uint64_t value;

			if (listener == listeners)
				goto ended;
			if (read(event_fds[listener], &value, sizeof(value)) != sizeof(value))
				continue;
			clock_gettime(CLOCK_MONOTONIC, &now);
			if (reads == READS_MAX) {
				errno = ENOSPC;
				fail("too many events");
			}
			stamps[reads++] = (struct stamp){ (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, value,
							  listener / count_each };
		}
	}
ended:
	for (size_t at = 0; at < reads; at++)
		printf("%" PRId64 " %s %" PRIu64 "\n", stamps[at].nanoseconds, NAMES[stamps[at].level], stamps[at].count);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* What no Python could do for less: write(2) on each eventfd, a look at a file. */

#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

int64_t write_all_ns(const int *event_fds, size_t count);
void look_for_ever(int fd, long pause_ns);

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Add one to each; the nanoseconds that took, -1 where a write failed. */
int64_t write_all_ns(const int *event_fds, size_t count)
{
	const uint64_t one = 1;
	int64_t began = now_ns();

	for (size_t i = 0; i < count; i++)
		if (write(event_fds[i], &one, sizeof(one)) != sizeof(one))
			return -1;
	return now_ns() - began;
}

/* Read a file after each pause, and do nothing with it. */
void look_for_ever(int fd, long pause_ns)
{
	static char content[65536];
	const struct timespec pause = { 0, pause_ns };

	do
		nanosleep(&pause, NULL);
	while (pread(fd, content, sizeof(content), 0) > 0);
}

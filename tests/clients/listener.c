/* SPDX-License-Identifier: MIT */
/*
 * A program written for cgroup v1, which knows nothing of any other file:
 *
 *     listener DIR LEVEL[,MODE]
 *
 * registers an eventfd with DIR/cgroup.event_control and prints a line for what
 * it reads from it.  When the cgroup is removed the file is gone: it prints
 * "removed" and exits with 0.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "listener: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int open_in(const char *directory, const char *name, int flags, char *path)
{
	int fd;

	if (snprintf(path, PATH_MAX, "%s/%s", directory, name) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		fail(directory);
	}
	fd = open(path, flags);
	if (fd < 0)
		fail(path);
	return fd;
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	char line[128];
	int level_fd, control_fd, event_fd, length;

	if (argc != 3) {
		fprintf(stderr, "usage: listener DIR LEVEL[,MODE]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);

	level_fd = open_in(argv[1], "memory.pressure_level", O_RDONLY, path);
	control_fd = open_in(argv[1], "cgroup.event_control", O_WRONLY, path);
	event_fd = eventfd(0, 0);
	if (event_fd < 0)
		fail("eventfd");

	length = snprintf(line, sizeof(line), "%d %d %s", event_fd, level_fd, argv[2]);
	if (length >= (int)sizeof(line)) {
		errno = E2BIG;
		fail(argv[2]);
	}
	/* With the NUL at the end: the kernel's file never minded. */
	if (write(control_fd, line, (size_t)length + 1) != length + 1)
		fail(path);
	puts("listening");

	for (;;) {
		uint64_t count;

		if (read(event_fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
			fail("read");
		if (access(path, W_OK) < 0) {
			if (errno != ENOENT)
				fail(path);
			puts("removed");
			return 0;
		}
		printf("%s +%llu\n", argv[2], (unsigned long long)count);
	}
}

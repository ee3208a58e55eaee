/* SPDX-License-Identifier: MIT */
/*
 * Notices an eventfd's last close without holding it, by a row in an epoll set.
 *
 * An epoll set holds no reference on what it watches.  Its row, shown in
 * /proc/self/fdinfo/<epoll fd>, goes at the file's last close, whoever held it.
 * Rows are told apart by (open file, descriptor number): see signaller/uring.py.
 */

#include "native.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Close without losing the errno of what failed before. */
void pfs_close(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
}

/* Add a row for an eventfd, under a number that no row of it has yet: its own,
 * or one of those from `next_fd` on, round and round below `end_fd`.  No events
 * are asked for: the row itself is the message.  EEXIST: every number has one. */
int pfs_rows_add(struct pfs_rows *rows, int event_fd, uint64_t token)
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

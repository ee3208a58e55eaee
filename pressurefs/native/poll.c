/* SPDX-License-Identifier: MIT */
/*
 * Signals an open file of the mount that is polled in an eventfd's place.
 *
 * Some facts about FUSE and poll
 *
 * poll(2) of a FUSE file asks the daemon, with a number of the kernel's for that file
 * where somebody waits. A message with this number on the connection,
 * FUSE_NOTIFY_POLL, makes the kernel wake the waiters, and these ask again.
 * write(2) of it copies 24 bytes, looks the number up under a spinlock and wakes:
 * there is nothing in it to wait for, whoever polls. libfuse's fuse_notify_poll() is no
 * way: its handle points into a channel that is gone when somebody forces the unmount;
 * a descriptor of our own answers an errno then.
 */

#include "native.h"

#include <poll.h>
#include <unistd.h>
#include <linux/fuse.h>

/* Make the file ready, and wake its waiters; the event path's lock is held. */
void pfs_poll_signal(struct pfs_poll *poll)
{
	struct {
		struct fuse_out_header header;
		struct fuse_notify_poll_wakeup_out wakeup;
	} message = {
		/* A message that answers no request: the error is its kind. */
		.header = { .len = sizeof(message), .error = FUSE_NOTIFY_POLL },
		.wakeup = { .kh = poll->waiter },
	};
	ssize_t written;

	poll->has_event = 1;
	if (!poll->has_waiter)
		return;
	/* Where the connection is gone, so is whoever waited. */
	written = write(poll->fuse_fd, &message, sizeof(message));
	(void)written;
}

/* What poll(2) says of the file. Events that no poll has reported are one, and the poll
 * that reports it clears it. From the first time that somebody waits each event wakes,
 * also after an answer that was not empty: an edge-triggered epoll asks once, and then
 * waits on. */
int pfs_poll_read(struct pfs_poll *poll, int has_waiter, uint64_t waiter)
{
	int ready = 0;

	pthread_mutex_lock(&pfs_event_lock);
	if (has_waiter) {
		poll->has_waiter = 1;
		poll->waiter = waiter;
	}
	if (poll->has_ended) {
		ready = POLLPRI | POLLERR;
	} else if (poll->has_event) {
		poll->has_event = 0;
		ready = POLLPRI;
	}
	pthread_mutex_unlock(&pfs_event_lock);
	return ready;
}

/* SPDX-License-Identifier: MIT */
/*
 * The table of listeners.
 *
 * A listener is a row of plain values; places.c has the lists that are derived from
 * it. A caller names a row and its token; a row that has another token by now is left
 * alone (ENOENT), so that no order of calls can reach a listener that has gone.
 *
 * Callers exclude each other; the event path's lock is taken here.
 */

#include "native.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

static int32_t pfs_row_take(struct pfs_event_path *path)
{
	int32_t row = path->free_row;

	if (row != PFS_NO_ROW) {
		path->free_row = path->links[row].next;
		return row;
	}
	if ((size_t)path->unused_row >= path->listeners_max) {
		errno = ENOMEM;
		return PFS_NO_ROW;
	}
	return path->unused_row++;
}

static bool pfs_row_is(const struct pfs_event_path *path, int row, uint64_t token)
{
	if (token && row >= 0 && row < path->unused_row && path->listeners[row].token == token)
		return true;
	errno = ENOENT;
	return false;
}

/* Let a listener hear from here on. `handle`: the io_uring or the struct pfs_poll that
 * signals it. `parent`: the nearest listened cgroup above, or the cgroup itself. The row,
 * or -1: ENOMEM, ENFILE. */
int pfs_listeners_add(struct pfs_event_path *path, const struct pfs_listener *listener, void *handle, uint64_t parent)
{
	struct pfs_place *place = pfs_place_open(path, listener->cgroup, parent);
	struct pfs_link *link;
	int32_t row;

	if (!place)
		return -1;
	row = pfs_row_take(path);
	if (row == PFS_NO_ROW) {
		if (place->first == PFS_NO_ROW)
			pfs_place_close(path, place);
		errno = ENOMEM;
		return -1;
	}
	link = &path->links[row];
	/* Not under the lock: the first touch of a page waits for memory. */
	memset(&path->listeners[row], 0, sizeof(path->listeners[row]));
	memset(link, 0, sizeof(*link));
	pthread_mutex_lock(&pfs_event_lock);
	path->listeners[row] = *listener;
	path->newest = listener->token > path->newest ? listener->token : path->newest;
	*link = (struct pfs_link){ .place = place,
				   .handle = handle,
				   .before = place->last,
				   .next = PFS_NO_ROW,
				   .before_cold = PFS_NO_ROW,
				   .next_cold = PFS_NO_ROW };
	if (place->last == PFS_NO_ROW)
		place->first = row;
	else
		path->links[place->last].next = row;
	place->last = row;
	if (listener->target == PFS_BY_URING) {
		link->is_cold = true;
		link->next_cold = path->cold;
		if (path->cold != PFS_NO_ROW)
			path->links[path->cold].before_cold = row;
		path->cold = row;
		/* A counter that is full wakes the reader no less. */
		if (path->cold_fd >= 0)
			eventfd_write(path->cold_fd, 1);
	}
	pthread_mutex_unlock(&pfs_event_lock);
	return row;
}

/* Take a row out of the cold ones; the event path's lock is held. */
static void pfs_row_warm(struct pfs_event_path *path, int32_t row)
{
	struct pfs_link *link = &path->links[row];

	link->is_cold = false;
	if (link->before_cold == PFS_NO_ROW)
		path->cold = link->next_cold;
	else
		path->links[link->before_cold].next_cold = link->next_cold;
	if (link->next_cold != PFS_NO_ROW)
		path->links[link->next_cold].before_cold = link->before_cold;
}

/* Take a row out of all lists; the event path's lock is held. */
static void pfs_row_unlink(struct pfs_event_path *path, int32_t row)
{
	struct pfs_link *link = &path->links[row];
	struct pfs_place *place = link->place;

	if (link->is_cold)
		pfs_row_warm(path, row);
	if (link->before == PFS_NO_ROW)
		place->first = link->next;
	else
		path->links[link->before].next = link->next;
	if (link->next == PFS_NO_ROW)
		place->last = link->before;
	else
		path->links[link->next].before = link->before;
}

static int pfs_row_end(struct pfs_event_path *path, int row, uint64_t token, bool with_a_signal)
{
	struct pfs_place *place;

	if (!pfs_row_is(path, row, token))
		return -1;
	place = path->links[row].place;
	pthread_mutex_lock(&pfs_event_lock);
	pfs_row_unlink(path, row);
	if (with_a_signal) {
		if (path->listeners[row].target == PFS_BY_POLL)
			((struct pfs_poll *)path->links[row].handle)->has_ended = 1;
		pfs_listener_signal(path, row);
		pfs_signals_flush(path);
	}
	path->listeners[row].token = 0;
	path->links[row].next = path->free_row;
	path->free_row = row;
	pthread_mutex_unlock(&pfs_event_lock);
	if (place->first == PFS_NO_ROW)
		pfs_place_close(path, place);
	return 0;
}

/* The handle is not used any more when this returns. */
int pfs_listeners_drop(struct pfs_event_path *path, int row, uint64_t token)
{
	return pfs_row_end(path, row, token, false);
}

/* No event comes any more, then one signal, the last: what the kernel does when a cgroup goes. */
int pfs_listeners_end(struct pfs_event_path *path, int row, uint64_t token)
{
	return pfs_row_end(path, row, token, true);
}

/* The listener's eventfd is closed: it hears nothing, and keeps no event from others.
 * Its place stays until it is dropped. */
int pfs_listeners_bury(struct pfs_event_path *path, int row, uint64_t token)
{
	if (!pfs_row_is(path, row, token))
		return -1;
	pthread_mutex_lock(&pfs_event_lock);
	path->links[row].is_dead = true;
	pthread_mutex_unlock(&pfs_event_lock);
	return 0;
}

uint64_t pfs_listeners_signals_sent(struct pfs_event_path *path, int row, uint64_t token)
{
	uint64_t signals_sent;

	pthread_mutex_lock(&pfs_event_lock);
	signals_sent = pfs_row_is(path, row, token) ? path->listeners[row].signals_sent : 0;
	pthread_mutex_unlock(&pfs_event_lock);
	return signals_sent;
}

/* Submit nothing to the io_uring of each listener that came since the last time. The
 * kernel allocates a node for a thread's first submission to an io_uring; so the thread
 * that signals does this before it has an event. The lock is held. */
static void pfs_warm(struct pfs_event_path *path)
{
	while (path->cold != PFS_NO_ROW) {
		syscall(SYS_io_uring_enter, path->listeners[path->cold].fd, 1, 0, 0, NULL, 0);
		pfs_row_warm(path, path->cold);
	}
}

void pfs_listeners_warm(struct pfs_event_path *path)
{
	pthread_mutex_lock(&pfs_event_lock);
	pfs_warm(path);
	pthread_mutex_unlock(&pfs_event_lock);
}

/* The same for the source's thread; nothing where the reader's is the one that signals. */
void pfs_event_path_warm(struct pfs_event_path *path)
{
	pthread_mutex_lock(&pfs_event_lock);
	if (path->cold_fd < 0)
		pfs_warm(path);
	pthread_mutex_unlock(&pfs_event_lock);
}

/* `cold_fd`: an eventfd of the reader's, which does not block; -1: the reader ends. */
void pfs_listeners_warn_of_cold(struct pfs_event_path *path, int cold_fd)
{
	pthread_mutex_lock(&pfs_event_lock);
	path->cold_fd = cold_fd;
	pthread_mutex_unlock(&pfs_event_lock);
}

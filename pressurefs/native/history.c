/* SPDX-License-Identifier: MIT */
/* The last windows that were judged, by a number that counts up from 0: what the file
 * `history` shows, what a trace of the kernel's windows is made of, and where a walk
 * is made again. A writer overwrites the oldest, whoever has read it. */

#include "native.h"

/* The lock is held. */
uint64_t pfs_history_oldest(const struct pfs_event_path *path, uint64_t from)
{
	uint64_t head = path->history_head;

	if (head > PFS_HISTORY_WINDOWS && from < head - PFS_HISTORY_WINDOWS)
		return head - PFS_HISTORY_WINDOWS;
	return from < head ? from : head;
}

/* Where the next window is written; the lock is held until that is done. */
struct pfs_judged *pfs_history_next(struct pfs_event_path *path)
{
	return &path->history[path->history_head++ % PFS_HISTORY_WINDOWS];
}

/* The number that the next window will have. */
uint64_t pfs_history_head(struct pfs_event_path *path)
{
	uint64_t head;

	pthread_mutex_lock(&pfs_event_lock);
	head = path->history_head;
	pthread_mutex_unlock(&pfs_event_lock);
	return head;
}

/* Copy windows from the `*from`th on, or the oldest there is, and set *from to the first
 * that was not copied. How many. */
size_t pfs_history_read(struct pfs_event_path *path, uint64_t *from, struct pfs_judged *judged, size_t most)
{
	size_t count = 0;

	pthread_mutex_lock(&pfs_event_lock);
	*from = pfs_history_oldest(path, *from);
	for (; *from < path->history_head && count < most; (*from)++)
		judged[count++] = path->history[*from % PFS_HISTORY_WINDOWS];
	pthread_mutex_unlock(&pfs_event_lock);
	return count;
}

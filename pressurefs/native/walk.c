/* SPDX-License-Identifier: MIT */
/*
 * The walk from the target of the reclaim upwards, which mm/vmpressure.c makes in
 * vmpressure_work_fn() and vmpressure_event():
 *
 * - the target's own listeners hear in every mode;
 * - an ancestor's hear not as `local`, and as `default` only while nobody below was
 *   signalled.
 *
 * The event path's lock is held by all that is here.
 */

#include "native.h"

/* One walk. `is_again`: it was made before, by listeners some of whom were dead. */
struct pfs_step {
	struct pfs_judged *judged;
	bool is_again;
	bool is_ancestor;
	bool was_heard;
	bool is_above; /* above the place where a listener was signalled the first time */
};

static void pfs_note_lost(struct pfs_event_path *path, size_t lost)
{
	path->signals_lost += lost;
	path->lost_error = errno;
}

void pfs_listener_signal(struct pfs_event_path *path, int32_t row)
{
	struct pfs_listener *listener = &path->listeners[row];
	void *handle = path->links[row].handle;
	size_t lost;

	switch (listener->target) {
	case PFS_BY_URING:
		if (pfs_uring_signal(handle) < 0) {
			pfs_note_lost(path, 1);
			return;
		}
		break;
	case PFS_BY_AIO:
		if (!path->aio) {
			errno = EBADF;
			pfs_note_lost(path, 1);
			return;
		}
		/* Those that came before it in the batch may be the ones that were lost. */
		lost = pfs_aio_signal(path->aio, listener->fd);
		if (lost)
			pfs_note_lost(path, lost);
		break;
	case PFS_BY_POLL:
		pfs_poll_signal(handle);
		break;
	default:
		break;
	}
	listener->signals_sent++;
}

/* Send what is held back to be sent together. */
void pfs_signals_flush(struct pfs_event_path *path)
{
	size_t lost = path->aio ? pfs_aio_flush(path->aio) : 0;

	if (lost)
		pfs_note_lost(path, lost);
}

/* Whether a listener hears this step; whether it is to be signalled in *is_new. */
static bool pfs_listener_hears(const struct pfs_event_path *path, int32_t row, const struct pfs_step *step, bool *is_new)
{
	const struct pfs_listener *listener = &path->listeners[row];

	*is_new = !step->is_again;
	if (path->links[row].is_dead || step->judged->level < listener->level)
		return false;
	/* It came after the window was judged. */
	if (step->is_again && listener->token > step->judged->newest)
		return false;
	if (step->is_ancestor && listener->mode == PFS_LOCAL)
		return false;
	if (listener->mode != PFS_DEFAULT)
		return true;
	if (step->was_heard) {
		step->judged->flags |= PFS_SILENCED;
		return false;
	}
	/* The first walk has left it out for the sake of a listener that was dead. */
	*is_new = *is_new || step->is_above;
	return true;
}

static bool pfs_place_walk(struct pfs_event_path *path, const struct pfs_place *place, const struct pfs_step *step)
{
	bool was_heard = false;

	for (int32_t row = place->first; row != PFS_NO_ROW; row = path->links[row].next) {
		bool is_new;

		if (!pfs_listener_hears(path, row, step, &is_new))
			continue;
		if (is_new)
			pfs_listener_signal(path, row);
		was_heard = true;
	}
	return was_heard;
}

static void pfs_walk_up(struct pfs_event_path *path, struct pfs_step *step)
{
	struct pfs_judged *judged = step->judged;
	struct pfs_place *place = pfs_place_find(path, judged->listening);
	bool had_heard = judged->flags & PFS_HEARD;
	uint64_t heard_before = judged->heard_at;

	judged->flags &= ~(PFS_SILENCED | PFS_HEARD);
	if (place)
		judged->flags |= PFS_WALKED;
	step->is_ancestor = judged->flags & PFS_INHERITED;
	/* A walk over more places than there are goes in a circle: a cgroup was renamed. */
	for (size_t left = path->places; place && left; left--) {
		if (pfs_place_walk(path, place, step) && !step->was_heard) {
			step->was_heard = true;
			judged->flags |= PFS_HEARD;
			judged->heard_at = place->cgroup;
		}
		step->is_above = step->is_above || (had_heard && place->cgroup == heard_before);
		step->is_ancestor = true;
		place = pfs_place_parent(path, place);
	}
	pfs_signals_flush(path);
}

/* Signal who hears a judged window, and note in it what became of it. */
void pfs_walk(struct pfs_event_path *path, struct pfs_judged *judged)
{
	struct pfs_step step = { .judged = judged };

	judged->newest = path->newest;
	pfs_walk_up(path, &step);
}

/* Walk again for each window since the `from`th that left a `default` listener out, if
 * that was for the sake of listeners that are dead by now: whoever would have been
 * signalled without those is signalled now, and nobody twice. */
void pfs_walk_again(struct pfs_event_path *path, uint64_t from)
{
	pthread_mutex_lock(&pfs_event_lock);
	from = pfs_history_oldest(path, from);
	for (; from < path->history_head; from++) {
		struct pfs_judged *judged = &path->history[from % PFS_HISTORY_WINDOWS];
		struct pfs_step step = { .judged = judged, .is_again = true };

		if (judged->flags & PFS_SILENCED)
			pfs_walk_up(path, &step);
	}
	pthread_mutex_unlock(&pfs_event_lock);
}

/* SPDX-License-Identifier: MIT */
/*
 * The cgroups that have listeners, by number: a place with the list of its listeners.
 *
 * Places are derived from the table of listeners. They know their parents by number, so
 * that none can point to one that is gone; a place that is closed leaves its children
 * to its own parent.
 */

#include "native.h"

#include <stdlib.h>

static struct pfs_place **pfs_bucket(struct pfs_event_path *path, uint64_t cgroup)
{
	return &path->buckets[cgroup % PFS_BUCKETS];
}

struct pfs_place *pfs_place_find(const struct pfs_event_path *path, uint64_t cgroup)
{
	struct pfs_place *place = path->buckets[cgroup % PFS_BUCKETS];

	while (place && place->cgroup != cgroup)
		place = place->next;
	return place;
}

struct pfs_place *pfs_place_parent(const struct pfs_event_path *path, const struct pfs_place *place)
{
	return place->parent == place->cgroup ? NULL : pfs_place_find(path, place->parent);
}

static void pfs_place_unlink(struct pfs_event_path *path, struct pfs_place *place)
{
	struct pfs_place **at = pfs_bucket(path, place->cgroup);
	bool is_topmost = place->parent == place->cgroup;

	pthread_mutex_lock(&pfs_event_lock);
	while (*at != place)
		at = &(*at)->next;
	*at = place->next;
	path->places--;
	/* Its parent takes its children over. */
	for (size_t bucket = 0; bucket < PFS_BUCKETS; bucket++)
		for (struct pfs_place *one = path->buckets[bucket]; one; one = one->next)
			if (one->parent == place->cgroup)
				one->parent = is_topmost ? one->cgroup : place->parent;
	pthread_mutex_unlock(&pfs_event_lock);
}

/* The place of a cgroup, made if there is none; NULL and errno. The BPF program learns
 * of it last: what it says of a place must find it, and all above it. */
struct pfs_place *pfs_place_open(struct pfs_event_path *path, uint64_t cgroup, uint64_t parent)
{
	struct pfs_place *place = pfs_place_find(path, cgroup);

	if (place)
		return place;
	place = calloc(1, sizeof(*place));
	if (!place)
		return NULL;
	place->cgroup = cgroup;
	place->parent = parent;
	place->first = place->last = PFS_NO_ROW;
	pthread_mutex_lock(&pfs_event_lock);
	place->next = *pfs_bucket(path, cgroup);
	*pfs_bucket(path, cgroup) = place;
	path->places++;
	pthread_mutex_unlock(&pfs_event_lock);
	if (pfs_bpf_mark(path, cgroup, true) < 0) {
		int saved = errno;

		pfs_place_unlink(path, place);
		free(place);
		/* The map is full: as with descriptors, one more would be too many. */
		errno = saved == ENOMEM ? ENOMEM : ENFILE;
		return NULL;
	}
	return place;
}

void pfs_place_close(struct pfs_event_path *path, struct pfs_place *place)
{
	/* A removed cgroup's number is never used again: a mark that stays costs its memory, no event. */
	pfs_bpf_mark(path, place->cgroup, false);
	pfs_place_unlink(path, place);
	free(place);
}

/* Nothing where the cgroup has no listener. */
void pfs_places_set_parent(struct pfs_event_path *path, uint64_t cgroup, uint64_t parent)
{
	struct pfs_place *place = pfs_place_find(path, cgroup);

	pthread_mutex_lock(&pfs_event_lock);
	if (place)
		place->parent = parent;
	pthread_mutex_unlock(&pfs_event_lock);
}

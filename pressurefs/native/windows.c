/* SPDX-License-Identifier: MIT */
/*
 * Windows: pages are added up, and a full window is judged. The arithmetic is that of
 * Anton Vorontsov's vmpressure RFC of 2012 and of mm/vmpressure.c; pressure/ has it in
 * Python, which the tests compare with this.
 */

#include "native.h"

/* Sums stop here, and products of two of them fit into 128 bits. */
#define PFS_SUM_MAX ((uint64_t)INT64_MAX)

__extension__ typedef unsigned __int128 pfs_product;

/* Percent of the scanned pages that were not reclaimed. */
static int32_t pfs_index(uint64_t scanned, uint64_t reclaimed, const struct pfs_thresholds *thresholds)
{
	uint64_t scale = thresholds->window_pages;
	uint64_t not_reclaimed;

	/* More reclaimed than scanned: whole slabs, or a huge page that was counted once. */
	if (reclaimed >= scanned)
		return 0;
	if (!thresholds->scale_is_window)
		scale = scanned + reclaimed;
	not_reclaimed = scale - (uint64_t)((pfs_product)reclaimed * scale / scanned);
	return (int32_t)((pfs_product)not_reclaimed * 100 / scale);
}

static int32_t pfs_level(int32_t index_percent, const struct pfs_thresholds *thresholds)
{
	if ((uint32_t)index_percent >= thresholds->oom)
		return PFS_OOM;
	return (uint32_t)index_percent >= thresholds->medium ? PFS_MEDIUM : PFS_LOW;
}

/* Judge and signal; the lock is held. */
static void pfs_judge(struct pfs_event_path *path, struct pfs_judged judged)
{
	struct pfs_judged *kept = pfs_history_next(path);

	judged.index_percent = pfs_index(judged.scanned, judged.reclaimed, &path->thresholds);
	judged.level = pfs_level(judged.index_percent, &path->thresholds);
	*kept = judged;
	pfs_walk(path, kept);
}

static uint64_t pfs_sum(uint64_t one, uint64_t other)
{
	if (one > PFS_SUM_MAX || other > PFS_SUM_MAX - one)
		return PFS_SUM_MAX;
	return one + other;
}

/*
 * Add a sample to a cgroup's window; whether that filled it, so that it was judged, told
 * to its listeners, and is empty now. A sample larger than the window is one window, not
 * several: the kernel judges what has come in since it last looked.
 *
 * `listening`: the nearest listened cgroup; `is_inherited`: that is an ancestor.
 */
int pfs_windows_add(struct pfs_event_path *path, struct pfs_pages *pages, uint64_t listening, int is_inherited,
		    uint64_t scanned, uint64_t reclaimed, int32_t priority, uint64_t time_ns)
{
	struct pfs_judged judged = { .time_ns = time_ns,
				     .cgroup = pages->cgroup,
				     .listening = listening,
				     .priority = priority,
				     .flags = PFS_SAMPLED | (is_inherited ? PFS_INHERITED : 0) };
	int is_full;

	pthread_mutex_lock(&pfs_event_lock);
	/* The kernel's vmpressure_prio(): a full window of failure on top of what was there.
	 * A good ratio before it dilutes it, there as here. */
	if (priority != PFS_NO_PRIORITY && priority <= path->thresholds.oom_priority)
		judged.injected = path->thresholds.window_pages;
	pages->scanned = pfs_sum(pages->scanned, pfs_sum(scanned, judged.injected));
	pages->reclaimed = pfs_sum(pages->reclaimed, reclaimed);
	is_full = pages->scanned >= path->thresholds.window_pages;
	if (is_full) {
		judged.scanned = pages->scanned;
		judged.reclaimed = pages->reclaimed;
		pages->scanned = pages->reclaimed = 0;
		pfs_judge(path, judged);
	}
	pthread_mutex_unlock(&pfs_event_lock);
	return is_full;
}

/* Take a window that the BPF program has filled. */
void pfs_windows_fill(struct pfs_event_path *path, const struct pfs_window *window)
{
	/* A walk that ended at the topmost directory ended at the machine's place. */
	uint64_t listening = window->listening == path->top ? PFS_MACHINE : window->listening;
	struct pfs_judged judged = { .time_ns = window->time_ns,
				     .cgroup = window->cgroup,
				     .listening = listening,
				     .scanned = window->scanned,
				     .reclaimed = window->reclaimed,
				     .injected = window->injected,
				     .priority = window->priority,
				     .flags = window->cgroup == listening ? 0 : PFS_INHERITED };

	pthread_mutex_lock(&pfs_event_lock);
	pfs_judge(path, judged);
	pthread_mutex_unlock(&pfs_event_lock);
}

/* Signal a level that no window was judged for. */
void pfs_windows_inject(struct pfs_event_path *path, uint64_t cgroup, uint64_t listening, int is_inherited,
			int32_t level, uint64_t time_ns)
{
	struct pfs_judged *kept;

	pthread_mutex_lock(&pfs_event_lock);
	kept = pfs_history_next(path);
	*kept = (struct pfs_judged){ .time_ns = time_ns,
				     .cgroup = cgroup,
				     .listening = listening,
				     .priority = PFS_NO_PRIORITY,
				     .index_percent = PFS_NO_INDEX,
				     .level = level,
				     .flags = PFS_SAMPLED | (is_inherited ? PFS_INHERITED : 0) };
	pfs_walk(path, kept);
	pthread_mutex_unlock(&pfs_event_lock);
}

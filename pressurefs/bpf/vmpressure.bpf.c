/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Reads the arguments of the kernel's own vmpressure() and adds them up in the kernel.
 * The daemon is woken for full windows and for a low scan priority, and only where the
 * cgroup or an ancestor has listeners.
 *
 * A reader who knows mm/vmpressure.c finds here
 *
 *	vmpressure()		count(): the filter by gfp, the window
 *	vmpressure_prio()	give_up(): the injection by priority
 *	vmpressure_work_fn()	judge(): where the kernel itself judges
 *
 * and the arithmetic and the walk to the listeners in native/. Where vmpressure()
 * is gone there are the tracepoints of mm/vmscan.c, see shrunk(). What differs:
 *
 * - The window is taken when it is full. The kernel's worker takes what has been added
 *   up when it runs, which under load is more than a window: fewer events, later.
 * - Window and priority are pressurefs's own, and can be changed. So the (512, 0)
 *   that vmpressure_prio() hands to vmpressure() at priority 3 is left out, and
 *   (window, 0) is added at the priority that was asked for.
 * - Reclaim without `tree` is for socket buffers, and is not counted; nor is it
 *   in the kernel's events. But where the multi-generational LRU reclaims for the
 *   machine, it calls without `tree` only, cgroup by cgroup, from shrink_one(): the
 *   kernel's own root cgroup then has only the events of the priority. That reclaim is
 *   counted here, as the machine's.
 *
 * Some facts about where this runs
 *
 * The arguments are found by their names, in the kernel's own type information,
 * by sources/bpf_program.py: `order` came in between after Linux 6.12, and is used for
 * socket buffers only. Offsets in the kernel's structures are relocated when
 * this is loaded (CO-RE).
 *
 * Nothing is allocated here. A BPF program that preempts itself on one processor is
 * left out by the kernel, which counts that; it takes a preemptible kernel.
 */

#include "windows.bpf.h"

/* The kernel lends some helpers, such as those that read its memory, to GPL-compatible programs only. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct task_struct {
	unsigned int flags;
} KERNEL_STRUCTURE;

/* A task that is kswapd. */
#define PF_KSWAPD 0x00020000

/* vmpressure_level_critical_prio of mm/vmpressure.c. */
#define KERNEL_PRIORITY 3

#define TASKS_MAX 4096 /* that reclaim at the same time; each of them has a processor */

/* Set before this is loaded. */
const volatile struct pfs_known known;

/* Tasks that are inside a function of the kernel: vmpressure_prio(), about to hand
 * (512, 0) to vmpressure(), shrink_one(), or reclaim for a cgroup. */
struct tasks {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TASKS_MAX);
	__type(key, __u32);
	__type(value, __u8);
};
struct tasks injecting SEC(".maps");
struct tasks shrinking SEC(".maps");
struct tasks at_limit SEC(".maps");

/* The scan priority that a task was last seen at. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, TASKS_MAX);
	__type(key, __u32);
	__type(value, __s32);
} passes SEC(".maps");

/* The kernel's worker at work: for whom, and what was there when it began. */
struct work {
	__u64 memcg;
	__u64 pages;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TASKS_MAX);
	__type(key, __u32);
	__type(value, struct work);
} working SEC(".maps");

static __always_inline __u64 argument(void *context, __u32 number)
{
	__u64 value = 0;

	bpf_get_func_arg(context, number, &value);
	return value;
}

static __always_inline void enter(void *tasks)
{
	__u32 task = (__u32)bpf_get_current_pid_tgid();
	__u8 yes = 1;

	bpf_map_update_elem(tasks, &task, &yes, BPF_ANY);
}

static __always_inline void leave(void *tasks)
{
	__u32 task = (__u32)bpf_get_current_pid_tgid();

	bpf_map_delete_elem(tasks, &task);
}

static __always_inline bool is_in(void *tasks)
{
	__u32 task = (__u32)bpf_get_current_pid_tgid();

	return bpf_map_lookup_elem(tasks, &task) != NULL;
}

SEC("fentry/vmpressure")
int count(void *context)
{
	struct mem_cgroup *memcg = (void *)argument(context, known.memcg);
	__u64 scanned = argument(context, known.scanned);

	if (!scanned || !(argument(context, known.gfp) & known.gfp_counted))
		return 0;
	if (!(__u8)argument(context, known.tree)) {
		/* A part of the machine's reclaim, told by its cgroup. */
		if (!is_in(&shrinking))
			return 0;
		memcg = NULL;
	} else if (is_in(&injecting)) {
		return 0;
	}
	add(memcg, scanned, argument(context, known.reclaimed), PFS_NO_PRIORITY);
	return 0;
}

SEC("fentry/shrink_one")
int enter_shrink_one(void *context __attribute__((unused)))
{
	enter(&shrinking);
	return 0;
}

SEC("fexit/shrink_one")
int leave_shrink_one(void *context __attribute__((unused)))
{
	leave(&shrinking);
	return 0;
}

SEC("fentry/vmpressure_prio")
int give_up(void *context)
{
	struct mem_cgroup *memcg = (void *)argument(context, known.prio_memcg);
	__s32 priority = (__s32)argument(context, known.prio);

	if (priority <= KERNEL_PRIORITY)
		enter(&injecting);
	if (priority <= shared.oom_priority && argument(context, known.prio_gfp) & known.gfp_counted)
		add(memcg, shared.window_pages, 0, priority);
	return 0;
}

SEC("fexit/vmpressure_prio")
int gave_up(void *context)
{
	if ((__s32)argument(context, known.prio) <= KERNEL_PRIORITY)
		leave(&injecting);
	return 0;
}

static __always_inline struct work find_work(void *context)
{
	char *vmpr = (char *)argument(context, 0) - bpf_core_field_offset(struct vmpressure, work);
	char *memcg = vmpr - bpf_core_field_offset(struct mem_cgroup, vmpressure);
	struct vmpressure *window = (struct vmpressure *)vmpr;

	return (struct work){ .memcg = (__u64)memcg,
			      .pages = pages_of(BPF_CORE_READ(window, tree_scanned),
						BPF_CORE_READ(window, tree_reclaimed)) };
}

static __always_inline void tell_work(const struct work *one, __u64 pages)
{
	struct mem_cgroup *memcg = (struct mem_cgroup *)one->memcg;
	__u64 *late;

	if (!SCANNED(pages))
		return;
	late = find_window(number_of(memcg));
	if (late)
		pages += __sync_lock_test_and_set(late, 0);
	if (!tell(memcg, pages, PFS_NO_PRIORITY, 0) && late)
		__sync_fetch_and_add(late, pages);
}

/* What the worker takes it takes under a lock, a moment after its entry, and other
 * processors go on counting until then: so it is told where it is judged. */
SEC("fentry/vmpressure_work_fn")
int begin_work(void *context)
{
	__u32 task = (__u32)bpf_get_current_pid_tgid();
	struct work one = find_work(context);

	bpf_map_update_elem(&working, &task, &one, BPF_ANY);
	return 0;
}

SEC("fentry/vmpressure_calc_level")
int judge(void *context)
{
	__u32 task = (__u32)bpf_get_current_pid_tgid();
	struct work *one = bpf_map_lookup_elem(&working, &task);

	/* Socket buffers are judged, too, and not by the worker. */
	if (!one)
		return 0;
	tell_work(one, pages_of(argument(context, 0), argument(context, 1)));
	bpf_map_delete_elem(&working, &task);
	return 0;
}

/* If it was not judged, then because nothing was there, or because the compiler has
 * put the judgement inside the worker. */
SEC("fexit/vmpressure_work_fn")
int end_work(void *context __attribute__((unused)))
{
	__u32 task = (__u32)bpf_get_current_pid_tgid();
	struct work *one = bpf_map_lookup_elem(&working, &task);

	if (!one)
		return 0;
	tell_work(one, one->pages);
	bpf_map_delete_elem(&working, &task);
	return 0;
}

/* Where there is no judgement to be seen. */
SEC("fentry/vmpressure_work_fn")
int work(void *context)
{
	struct work one = find_work(context);

	tell_work(&one, one.pages);
	return 0;
}

/*
 * Without vmpressure(): each batch of pages that was shrunk is told by a tracepoint,
 * but not for whom. What is not for a cgroup is for the machine.
 */
SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int begin_limit(void *context __attribute__((unused)))
{
	enter(&at_limit);
	return 0;
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_end")
int end_limit(void *context __attribute__((unused)))
{
	leave(&at_limit);
	return 0;
}

SEC("tp_btf/mm_vmscan_lru_shrink_inactive")
int shrunk(__u64 *context)
{
	/* nid, nr_scanned, nr_reclaimed, stat, priority, file */
	__u64 scanned = context[1], reclaimed = context[2];
	__s32 priority = (__s32)context[4];
	struct task_struct *current = (void *)bpf_get_current_task();
	__u32 task = (__u32)bpf_get_current_pid_tgid();
	__s32 *before;

	if (is_in(&at_limit))
		return 0;
	if (scanned)
		add(NULL, scanned, reclaimed, PFS_NO_PRIORITY);
	/* vmpressure_prio() is called once for each pass of a task, and not by kswapd. */
	if (BPF_CORE_READ(current, flags) & PF_KSWAPD)
		return 0;
	before = bpf_map_lookup_elem(&passes, &task);
	if (priority <= shared.oom_priority && (!before || *before != priority))
		add(NULL, shared.window_pages, 0, priority);
	bpf_map_update_elem(&passes, &task, &priority, BPF_ANY);
	return 0;
}

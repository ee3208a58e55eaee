/* SPDX-License-Identifier: MIT */
/* What Python sees of fanout.c and reader.c. Every call answers -1 or NULL and errno on failure. */

enum { PFS_DEFAULT, PFS_HIERARCHY, PFS_LOCAL, ... };

struct pfs_thresholds {
	uint32_t window_pages;
	uint32_t medium;
	uint32_t oom;
	int32_t oom_priority;
	int scale_is_window;
};

#define PFS_NO_PRIORITY ...
#define PFS_PAGES_MAX ...
struct pfs_window {
	uint64_t time_ns;
	uint64_t cgroup;
	uint64_t listening;
	uint32_t scanned;
	uint32_t reclaimed;
	int32_t priority;
	uint32_t injected;
};
struct pfs_told {
	struct pfs_window window;
	uint32_t index_percent;
	int32_t level;
	int32_t is_told;
};
struct pfs_known {
	uint32_t gfp;
	uint32_t memcg;
	uint32_t tree;
	uint32_t scanned;
	uint32_t reclaimed;
	uint32_t prio_gfp;
	uint32_t prio_memcg;
	uint32_t prio;
	uint64_t gfp_counted;
};
struct pfs_shared {
	uint32_t window_pages;
	int32_t oom_priority;
	uint64_t machine_pages;
};

struct pfs_fanout;
struct pfs_fanout *pfs_fanout_open(uint64_t top);
int pfs_fanout_attach(struct pfs_fanout *fanout, int listening_fd, void *shared);
void pfs_fanout_detach(struct pfs_fanout *fanout);
void pfs_fanout_tune(struct pfs_fanout *fanout, const struct pfs_thresholds *thresholds);
void pfs_fanout_tell(struct pfs_fanout *fanout, const struct pfs_window *window, struct pfs_told *told);

struct pfs_place;
struct pfs_place *pfs_fanout_place(struct pfs_fanout *fanout, uint64_t cgroup, struct pfs_place *parent);
void pfs_fanout_set_parent(struct pfs_place *place, struct pfs_place *parent);
void pfs_fanout_drop_place(struct pfs_fanout *fanout, struct pfs_place *place);

struct pfs_listener;
struct pfs_listener *pfs_place_add(struct pfs_fanout *fanout, struct pfs_place *place, struct pfs_ring *ring,
				   int level, int mode);
int pfs_listener_drop(struct pfs_fanout *fanout, struct pfs_listener *listener);

struct pfs_reader;
struct pfs_reader *pfs_reader_open(struct pfs_fanout *fanout, int ring_fd, size_t ring_bytes, int told_fd);
size_t pfs_reader_take(struct pfs_reader *reader, struct pfs_told *told, size_t most);
void pfs_reader_close(struct pfs_reader *reader);

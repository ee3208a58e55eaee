/* SPDX-License-Identifier: MIT */
/*
 * Calls the C of the compiled module with what no caller of ours would give it.  Built
 * with the sanitizers on; test_native.py runs one case at a time and reads what
 * they say.
 *
 * There is no Python in this process, so what LeakSanitizer finds at its end is
 * ours.  The last cases are wrong on purpose: they prove that the sanitizers are
 * on, and see into both.
 */

#include "pressurefs/native/native.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define CLAIM(holds)                                                              \
	do {                                                                      \
		if (!(holds)) {                                                   \
			fprintf(stderr, "line %d: %s: errno %d\n", __LINE__, #holds, errno); \
			_exit(1);                                                 \
		}                                                                 \
	} while (0)

#define REFUSED(call, number) CLAIM((call) < 0 && errno == (number))

#define ROUNDS 1000
#define OPENINGS 20
#define ROWS_END 64
#define SOME_FDS 200
#define FULL (UINT64_MAX - 1)

static const int NO_DESCRIPTORS[] = { -1, -2, INT_MIN, INT_MAX, 1 << 20 };

static int event_fd_of(uint64_t count)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	CLAIM(fd >= 0);
	if (count)
		CLAIM(write(fd, &count, sizeof(count)) == sizeof(count));
	return fd;
}

static uint64_t drain(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* Return the limit that was; LeakSanitizer wants it back. */
static rlim_t limit_descriptors(rlim_t soft)
{
	struct rlimit limit;
	rlim_t before;

	CLAIM(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	before = limit.rlim_cur;
	limit.rlim_cur = soft;
	CLAIM(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	return before;
}

/* Rows go round below the end until each number has one. */
static void rows(void)
{
	struct pfs_rows rows = { .epoll_fd = epoll_create1(0), .next_fd = ROWS_END / 2, .end_fd = ROWS_END };
	int event = event_fd_of(0);
	int added = 0;
	int occupied = 0;

	for (int fd = 0; fd < ROWS_END; fd++)
		occupied += fcntl(fd, F_GETFD) >= 0;
	while (pfs_rows_add(&rows, event, UINT64_MAX) == 0)
		CLAIM(++added <= ROWS_END && rows.next_fd >= 0 && rows.next_fd < ROWS_END);
	CLAIM(errno == EEXIST);
	/* Of the numbers that are open only its own has one. */
	CLAIM(added == ROWS_END - occupied + 1);
	close(event);
	event = event_fd_of(0);
	CLAIM(pfs_rows_add(&rows, event, 0) == 0);
	close(event);
	close(rows.epoll_fd);
}

/* A number to begin with that is out of range is begun again at 0. */
static void rows_out_of_range(void)
{
	static const int hostile[] = { INT_MAX, INT_MAX - 1, 1 << 20, 300 };
	struct pfs_rows rows = { .epoll_fd = epoll_create1(0), .end_fd = ROWS_END };
	struct pfs_rows none = rows;
	int event = event_fd_of(0);
	rlim_t before = limit_descriptors(100);

	/* Its own number is taken first. */
	CLAIM(pfs_rows_add(&rows, event, 0) == 0);
	for (size_t i = 0; i < LENGTH(hostile); i++) {
		rows.next_fd = hostile[i];
		CLAIM(pfs_rows_add(&rows, event, i) == 0);
		CLAIM(rows.next_fd > 0 && rows.next_fd < ROWS_END);
	}
	rows.next_fd = -1;
	REFUSED(pfs_rows_add(&rows, event, 0), EINVAL);
	rows.next_fd = 0;
	none.end_fd = 0;
	CLAIM(pfs_rows_add(&none, event, 0) < 0);
	none.end_fd = INT_MIN;
	CLAIM(pfs_rows_add(&none, event, 0) < 0);
	none.end_fd = ROWS_END;
	for (size_t i = 0; i < LENGTH(NO_DESCRIPTORS); i++) {
		none.epoll_fd = NO_DESCRIPTORS[i];
		REFUSED(pfs_rows_add(&none, event, 0), EBADF);
		REFUSED(pfs_rows_add(&rows, NO_DESCRIPTORS[i], 0), EBADF);
	}
	limit_descriptors(0);
	REFUSED(pfs_rows_add(&rows, event, 0), EINVAL);
	rows.next_fd = 3;
	REFUSED(pfs_rows_add(&rows, event, 0), EINVAL);
	limit_descriptors(before);
	close(event);
	close(rows.epoll_fd);
}

/* How many were lost. */
static size_t aio_signal_all(struct pfs_aio *aio, const int *fds, size_t count)
{
	size_t lost = 0;

	for (size_t i = 0; i < count; i++)
		lost += pfs_aio_signal(aio, fds[i]);
	return lost + pfs_aio_flush(aio);
}

/* Signals go to every eventfd of many batches, and to nothing else among them. */
static void aio(void)
{
	int fds[SOME_FDS];
	int ends[2];
	size_t good = 0;
	struct pfs_aio *aio = pfs_aio_open();

	CLAIM(aio && pipe(ends) == 0);
	for (size_t i = 0; i < SOME_FDS; i++) {
		if (i % 3 == 0)
			fds[i] = NO_DESCRIPTORS[i % LENGTH(NO_DESCRIPTORS)];
		else
			fds[i] = i % 7 ? event_fd_of(i % 11 ? 0 : FULL) : ends[0];
		good += fds[i] > 0 && fds[i] < 1 << 20 && fds[i] != ends[0];
	}
	CLAIM(pfs_aio_flush(aio) == 0);
	for (int round = 0; round < ROUNDS; round++)
		CLAIM(aio_signal_all(aio, fds, SOME_FDS) == SOME_FDS - good);
	for (size_t i = 0; i < SOME_FDS; i++) {
		if (i % 3 && i % 7) {
			CLAIM(drain(fds[i]) == (i % 11 ? ROUNDS : UINT64_MAX));
			close(fds[i]);
		}
	}
	CLAIM(aio_signal_all(aio, fds, SOME_FDS) == SOME_FDS);
	pfs_aio_close(aio);
}

/* A uring refuses what is no eventfd, and serves on. */
static void urings(void)
{
	int event = event_fd_of(0);
	int full = event_fd_of(FULL);
	int ends[2];
	struct pfs_uring *uring = pfs_uring_open();
	struct pfs_uring *both[2] = { uring, pfs_uring_open() };

	CLAIM(both[0] && both[1] && pipe(ends) == 0);
	for (size_t i = 0; i < LENGTH(NO_DESCRIPTORS); i++)
		REFUSED(pfs_uring_tie(uring, NO_DESCRIPTORS[i]), EBADF);
	REFUSED(pfs_uring_tie(uring, ends[0]), EINVAL);
	CLAIM(pfs_uring_untie(uring) == 0);
	CLAIM(pfs_uring_signal(uring) == 0 && drain(event) == 0);
	CLAIM(pfs_uring_tie(uring, event) == 0 && pfs_uring_tie(both[1], full) == 0);
	CLAIM(pfs_uring_tie(uring, event) < 0);
	/* The queues go round many times. */
	for (int round = 0; round < ROUNDS; round++)
		CLAIM(pfs_uring_signal(both[0]) == 0 && pfs_uring_signal(both[1]) == 0);
	CLAIM(drain(event) == ROUNDS && drain(full) == UINT64_MAX);
	close(event);
	close(full);
	CLAIM(pfs_uring_signal(both[0]) == 0 && pfs_uring_signal(both[1]) == 0);
	CLAIM(pfs_uring_untie(uring) == 0);
	pfs_uring_close(both[0]);
	pfs_uring_close(both[1]);
}

/* What was opened halfway is closed again. */
static void shortage(void)
{
	rlim_t before;

	for (int round = 0; round < OPENINGS; round++) {
		struct pfs_uring *uring = pfs_uring_open();
		struct pfs_aio *aio = pfs_aio_open();

		CLAIM(uring && aio);
		pfs_aio_close(aio);
		pfs_uring_close(uring);
	}
	before = limit_descriptors(0);
	for (int round = 0; round < OPENINGS; round++)
		CLAIM(pfs_uring_open() == NULL && pfs_aio_open() == NULL && errno == EMFILE);
	limit_descriptors(before);
}

/* Run where io_uring is forbidden. */
static void forbidden(void)
{
	CLAIM(pfs_uring_open() == NULL && errno == EPERM);
}

/* A pidfd is kept from one process to the next, and from none to one. */
static void take(void)
{
	struct pfs_writer writer = { .pidfd = -1 };
	int event = event_fd_of(7);
	int self = getpid();
	int taken = pfs_take(&writer, self, 0, event);

	CLAIM(taken >= 0 && pfs_file_order(self, event, taken) == 0);
	CLAIM(drain(taken) == 7 && pfs_file_order(self, 0, taken) > 0 && pfs_same_table(self, self) == 1);
	for (size_t i = 0; i < LENGTH(NO_DESCRIPTORS); i++) {
		int no = NO_DESCRIPTORS[i];

		REFUSED(pfs_take(&writer, self, 0, no), EBADF);
		REFUSED(pfs_look(self, no), ENOENT);
		REFUSED(pfs_look(no, event), ENOENT);
		CLAIM(pfs_file_order(self, no, taken) == -1 && pfs_file_order(self, taken, no) == -1);
		CLAIM(pfs_file_order(no, event, taken) == -1 && pfs_same_table(no, self) == -1);
		CLAIM(pfs_take(&writer, no, 1, event) < 0 && pfs_take(&writer, no, 0, event) < 0);
		CLAIM(writer.pidfd < 0);
	}
	REFUSED(pfs_take(&writer, 0, 0, event), EINVAL);
	REFUSED(pfs_look(self, 0), EINVAL);
	CLAIM(pfs_look(self, event) == 0);
	close(taken);
	close(event);
}

/* A registration that fails leaves no row, and nothing open but what is no eventfd. */
static void keep(void)
{
	struct pfs_writer writer = { .pidfd = -1 };
	struct pfs_rows rows = { .epoll_fd = epoll_create1(0), .end_fd = ROWS_END };
	struct pfs_rows none = { .epoll_fd = -1, .end_fd = ROWS_END };
	struct pfs_uring *uring = pfs_uring_open();
	int event = event_fd_of(0);
	int self = getpid();
	int taken = -1;
	int ends[2];

	CLAIM(uring && pipe(ends) == 0);
	for (size_t i = 0; i < LENGTH(NO_DESCRIPTORS); i++) {
		CLAIM(pfs_uring_keep(uring, &writer, &rows, self, NO_DESCRIPTORS[i], 1, &taken) == PFS_LOOK);
		CLAIM(pfs_uring_keep(uring, &writer, &rows, NO_DESCRIPTORS[i], event, 1, &taken) == PFS_LOOK);
		CLAIM(pfs_uring_keep_taken(uring, &rows, NO_DESCRIPTORS[i], 1) == PFS_TIE && errno == EBADF);
	}
	CLAIM(pfs_uring_keep(uring, &writer, &rows, self, ends[0], 1, &taken) == PFS_LOOK && errno == EINVAL);
	CLAIM(pfs_uring_keep_taken(uring, &rows, ends[0], 1) == PFS_TIE && errno == EINVAL);
	CLAIM(fcntl(ends[0], F_GETFD) >= 0 && taken == -1);
	CLAIM(pfs_uring_keep(uring, &writer, &none, self, event, 1, &taken) == PFS_ROW && errno == EBADF);
	CLAIM(fcntl(taken, F_GETFD) < 0 && pfs_uring_untie(uring) == 0);
	CLAIM(pfs_uring_keep(uring, &writer, &rows, self, event, UINT64_MAX, &taken) == PFS_KEPT);
	CLAIM(fcntl(taken, F_GETFD) < 0 && pfs_uring_signal(uring) == 0 && drain(event) == 1);
	pfs_uring_close(uring);
}

/* A listener by an eventfd of its own and AIO, or one that is polled. */
static struct pfs_listener one(uint64_t token, uint64_t cgroup, int mode, int fd)
{
	return (struct pfs_listener){ .token = token,
				      .cgroup = cgroup,
				      .mode = mode,
				      .target = fd < 0 ? PFS_BY_POLL : PFS_BY_AIO,
				      .fd = fd };
}

static void fill(struct pfs_event_path *path, uint64_t cgroup, uint64_t listening)
{
	struct pfs_window window = { .cgroup = cgroup, .listening = listening, .scanned = 512 };

	pfs_windows_fill(path, &window);
}

static struct pfs_event_path *event_path(size_t most)
{
	struct pfs_thresholds thresholds = { .window_pages = 512, .medium = 60, .oom = 99, .oom_priority = 4, .scale_is_window = 1 };
	struct pfs_event_path *path = pfs_event_path_open(1, most);

	CLAIM(path);
	pfs_event_path_tune(path, &thresholds);
	return path;
}

/* Rows and tokens in any order: what has gone stays gone, and nothing of another listener is touched. */
static void listeners(void)
{
	struct pfs_event_path *path = event_path(4);
	struct pfs_poll polls[5] = { 0 };
	struct pfs_listener wish[5];
	int rows[5];

	for (size_t i = 0; i < LENGTH(polls); i++) {
		polls[i].fuse_fd = -1;
		wish[i] = one(i + 1, 10 + i % 2, PFS_DEFAULT, -1);
		rows[i] = pfs_listeners_add(path, &wish[i], &polls[i], 10);
		CLAIM(i < 4 ? rows[i] >= 0 : rows[i] == -1 && errno == ENOMEM);
	}
	REFUSED(pfs_listeners_drop(path, -1, 1), ENOENT);
	REFUSED(pfs_listeners_drop(path, INT_MAX, 1), ENOENT);
	REFUSED(pfs_listeners_drop(path, INT_MIN, 1), ENOENT);
	REFUSED(pfs_listeners_drop(path, rows[1], 1), ENOENT);
	REFUSED(pfs_listeners_end(path, rows[1], 0), ENOENT);
	REFUSED(pfs_listeners_bury(path, 3, UINT64_MAX), ENOENT);
	CLAIM(pfs_listeners_signals_sent(path, 77, 1) == 0);
	/* In the middle of its list, twice, and by each other call. */
	CLAIM(pfs_listeners_drop(path, rows[2], 3) == 0);
	REFUSED(pfs_listeners_drop(path, rows[2], 3), ENOENT);
	REFUSED(pfs_listeners_end(path, rows[2], 3), ENOENT);
	REFUSED(pfs_listeners_bury(path, rows[2], 3), ENOENT);
	CLAIM(pfs_listeners_add(path, &wish[4], &polls[4], 10) == rows[2]);
	REFUSED(pfs_listeners_drop(path, rows[2], 3), ENOENT);
	CLAIM(pfs_listeners_bury(path, rows[0], 1) == 0);
	fill(path, 10, 10);
	CLAIM(!polls[0].has_event && polls[4].has_event && !polls[1].has_event);
	CLAIM(pfs_listeners_end(path, rows[0], 1) == 0 && polls[0].has_ended);
	CLAIM(pfs_listeners_drop(path, rows[2], 5) == 0);
	/* 11 has lost its parent, and hears its own windows. */
	fill(path, 11, 11);
	CLAIM(pfs_poll_read(&polls[1], 0, 0) && !pfs_poll_read(&polls[1], 1, UINT64_MAX));
	pfs_event_path_close(path);
}

/* One cgroup under two names, and parents that lead in a circle. */
static void renames(void)
{
	struct pfs_event_path *path = event_path(8);
	struct pfs_poll polls[4] = { 0 };
	int rows[4];

	for (size_t i = 0; i < LENGTH(polls); i++) {
		struct pfs_listener wish = one(i + 1, i < 2 ? 5 : 6, PFS_HIERARCHY, -1);

		polls[i].fuse_fd = -1;
		rows[i] = pfs_listeners_add(path, &wish, &polls[i], i < 2 ? 6 : 5);
		CLAIM(rows[i] >= 0);
	}
	pfs_places_set_parent(path, 404, 5);
	fill(path, 5, 5);
	fill(path, 7, 6);
	CLAIM(pfs_listeners_drop(path, rows[0], 1) == 0 && pfs_listeners_drop(path, rows[1], 2) == 0);
	fill(path, 6, 6);
	fill(path, 5, 5);
	CLAIM(pfs_listeners_signals_sent(path, rows[2], 3) == 3);
	CLAIM(pfs_listeners_end(path, rows[3], 4) == 0 && pfs_listeners_end(path, rows[2], 3) == 0);
	fill(path, 6, 6);
	pfs_event_path_close(path);
}

/* Whatever is added up, tuned and read, nothing wraps, divides by nothing or leaves an array. */
static void windows(void)
{
	static const uint64_t numbers[] = { 0, 1, 511, 512, INT64_MAX, UINT64_MAX };
	struct pfs_event_path *path = event_path(2);
	struct pfs_pages pages = { .cgroup = 9 };
	struct pfs_judged *judged = calloc(3, sizeof(*judged));
	struct pfs_poll poll = { .fuse_fd = -1 };
	struct pfs_listener wish = one(1, 0, PFS_DEFAULT, -1);
	uint64_t from = UINT64_MAX;

	CLAIM(judged && pfs_listeners_add(path, &wish, &poll, 0) == 0);
	CLAIM(pfs_history_read(path, &from, judged, 3) == 0 && from == 0);
	pfs_walk_again(path, UINT64_MAX);
	for (size_t i = 0; i < LENGTH(numbers); i++) {
		struct pfs_thresholds thresholds = { .window_pages = numbers[i], .medium = UINT32_MAX, .oom_priority = INT32_MAX };

		for (size_t j = 0; j < LENGTH(numbers) * LENGTH(numbers) * 4; j++) {
			thresholds.scale_is_window = j & 1;
			pfs_event_path_tune(path, &thresholds);
			pfs_windows_add(path, &pages, 0, 0, numbers[j % 6], numbers[j / 6 % 6], j & 2 ? -1 : 12, j);
			fill(path, numbers[j % 6], 1);
			pfs_windows_inject(path, j, UINT64_MAX, 1, INT32_MAX, 0);
		}
	}
	from = 0;
	while (pfs_history_read(path, &from, judged, 3))
		CLAIM(from <= pfs_history_head(path));
	CLAIM(from == pfs_history_head(path));
	pfs_walk_again(path, 0);
	free(judged);
	pfs_event_path_close(path);
}

static void wrong_overflow(void)
{
	struct pfs_event_path *path = event_path(1);
	struct pfs_judged *judged = calloc(1, sizeof(*judged));
	uint64_t from = 0;

	fill(path, 0, 0);
	fill(path, 0, 0);
	pfs_history_read(path, &from, judged, 2);
}

static void wrong_use_after_free(void)
{
	struct pfs_uring *uring = pfs_uring_open();

	pfs_uring_close(uring);
	pfs_uring_signal(uring);
}

static void wrong_null(void)
{
	struct pfs_uring *volatile none = NULL;

	pfs_uring_fd(none);
}

static void wrong_leak(void)
{
	struct pfs_uring *uring = pfs_uring_open();

	CLAIM(uring);
}

static const struct {
	const char *name;
	void (*run)(void);
} CASES[] = {
	{ "rows", rows },
	{ "rows_out_of_range", rows_out_of_range },
	{ "aio", aio },
	{ "urings", urings },
	{ "shortage", shortage },
	{ "forbidden", forbidden },
	{ "take", take },
	{ "keep", keep },
	{ "listeners", listeners },
	{ "renames", renames },
	{ "windows", windows },
	{ "wrong_overflow", wrong_overflow },
	{ "wrong_use_after_free", wrong_use_after_free },
	{ "wrong_null", wrong_null },
	{ "wrong_leak", wrong_leak },
};

int main(int count, char **words)
{
	for (size_t i = 0; i < LENGTH(CASES); i++) {
		if (count == 2 && strcmp(words[1], CASES[i].name) == 0) {
			CASES[i].run();
			puts("done");
			return 0;
		}
	}
	return 2;
}

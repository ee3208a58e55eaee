/* SPDX-License-Identifier: MIT */
/*
 * Calls native.c and aio.c with what no caller of ours would give them.  Built
 * with the sanitizers on; test_native.py runs one case at a time and reads what
 * they say.
 *
 * There is no Python in this process, so what LeakSanitizer finds at its end is
 * ours.  The last cases are wrong on purpose: they prove that the sanitizers are
 * on, and see into both.
 */

#include "pressurefs/native.c"
#include "pressurefs/aio.c"

#include <limits.h>
#include <stdio.h>
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
	CLAIM(pfs_aio_signal_all(aio, NULL, 0) == 0);
	for (int round = 0; round < ROUNDS; round++)
		CLAIM(pfs_aio_signal_all(aio, fds, SOME_FDS) == good);
	for (size_t i = 0; i < SOME_FDS; i++) {
		if (i % 3 && i % 7) {
			CLAIM(drain(fds[i]) == (i % 11 ? ROUNDS : UINT64_MAX));
			close(fds[i]);
		}
	}
	CLAIM(pfs_aio_signal_all(aio, fds, SOME_FDS) == 0);
	pfs_aio_close(aio);
}

/* A ring refuses what is no eventfd, and serves on. */
static void rings(void)
{
	int event = event_fd_of(0);
	int full = event_fd_of(FULL);
	int ends[2];
	struct pfs_uring *ring = pfs_uring_open();
	struct pfs_uring *both[2] = { ring, pfs_uring_open() };

	CLAIM(both[0] && both[1] && pipe(ends) == 0);
	for (size_t i = 0; i < LENGTH(NO_DESCRIPTORS); i++)
		REFUSED(pfs_uring_tie(ring, NO_DESCRIPTORS[i]), EBADF);
	REFUSED(pfs_uring_tie(ring, ends[0]), EINVAL);
	CLAIM(pfs_uring_untie(ring) == 0);
	CLAIM(pfs_uring_signal(ring) == 0 && drain(event) == 0);
	CLAIM(pfs_uring_tie(ring, event) == 0 && pfs_uring_tie(both[1], full) == 0);
	CLAIM(pfs_uring_tie(ring, event) < 0);
	/* The queues go round many times. */
	for (int round = 0; round < ROUNDS; round++)
		CLAIM(pfs_uring_signal_all(both, 2) == 2);
	CLAIM(drain(event) == ROUNDS && drain(full) == UINT64_MAX);
	CLAIM(pfs_uring_signals_sent(both[1]) == ROUNDS);
	CLAIM(pfs_uring_signal_all(NULL, 0) == 0);
	close(event);
	close(full);
	CLAIM(pfs_uring_signal_all(both, 2) == 2);
	CLAIM(pfs_uring_untie(ring) == 0);
	pfs_uring_close(both[0]);
	pfs_uring_close(both[1]);
}

/* What was opened halfway is closed again. */
static void shortage(void)
{
	rlim_t before;

	for (int round = 0; round < OPENINGS; round++) {
		struct pfs_uring *ring = pfs_uring_open();
		struct pfs_aio *aio = pfs_aio_open();

		CLAIM(ring && aio);
		pfs_aio_close(aio);
		pfs_uring_close(ring);
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
	struct pfs_uring *ring = pfs_uring_open();
	int event = event_fd_of(0);
	int self = getpid();
	int taken = -1;
	int ends[2];

	CLAIM(ring && pipe(ends) == 0);
	for (size_t i = 0; i < LENGTH(NO_DESCRIPTORS); i++) {
		CLAIM(pfs_uring_keep(ring, &writer, &rows, self, NO_DESCRIPTORS[i], 1, &taken) == PFS_LOOK);
		CLAIM(pfs_uring_keep(ring, &writer, &rows, NO_DESCRIPTORS[i], event, 1, &taken) == PFS_LOOK);
		CLAIM(pfs_uring_keep_taken(ring, &rows, NO_DESCRIPTORS[i], 1) == PFS_TIE && errno == EBADF);
	}
	CLAIM(pfs_uring_keep(ring, &writer, &rows, self, ends[0], 1, &taken) == PFS_LOOK && errno == EINVAL);
	CLAIM(pfs_uring_keep_taken(ring, &rows, ends[0], 1) == PFS_TIE && errno == EINVAL);
	CLAIM(fcntl(ends[0], F_GETFD) >= 0 && taken == -1);
	CLAIM(pfs_uring_keep(ring, &writer, &none, self, event, 1, &taken) == PFS_ROW && errno == EBADF);
	CLAIM(fcntl(taken, F_GETFD) < 0 && pfs_uring_untie(ring) == 0);
	CLAIM(pfs_uring_keep(ring, &writer, &rows, self, event, UINT64_MAX, &taken) == PFS_KEPT);
	CLAIM(fcntl(taken, F_GETFD) < 0 && pfs_uring_signal(ring) == 0 && drain(event) == 1);
	pfs_uring_close(ring);
}

static void wrong_overflow(void)
{
	struct pfs_aio *aio = pfs_aio_open();
	int *fds = calloc(2, sizeof(*fds));

	pfs_aio_signal_all(aio, fds, 3);
}

static void wrong_use_after_free(void)
{
	struct pfs_uring *ring = pfs_uring_open();

	pfs_uring_close(ring);
	pfs_uring_signal_all(&ring, 1);
}

static void wrong_null(void)
{
	pfs_uring_signals_sent(NULL);
}

static void wrong_leak(void)
{
	struct pfs_uring *ring = pfs_uring_open();

	CLAIM(ring);
}

static const struct {
	const char *name;
	void (*run)(void);
} CASES[] = {
	{ "rows", rows },
	{ "rows_out_of_range", rows_out_of_range },
	{ "aio", aio },
	{ "rings", rings },
	{ "shortage", shortage },
	{ "forbidden", forbidden },
	{ "take", take },
	{ "keep", keep },
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

/* SPDX-License-Identifier: MIT */
/*
 * A file system with one file, which takes every write and does nothing: what
 * open, write and close cost where no Python is involved.  empty.py is the
 * same, in Python.
 *
 * Usage: empty READY_FD DIR
 */

#define FUSE_USE_VERSION 26

#include <fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int ready_fd;

static int empty_getattr(const char *path, struct stat *attributes)
{
	int is_top = strcmp(path, "/") == 0;

	memset(attributes, 0, sizeof(*attributes));
	attributes->st_mode = is_top ? S_IFDIR | 0755 : S_IFREG | 0666;
	attributes->st_nlink = is_top ? 2 : 1;
	attributes->st_ino = is_top ? 1 : 2;
	return 0;
}

static int empty_open(const char *path, struct fuse_file_info *info)
{
	(void)path;
	info->direct_io = 1;
	return 0;
}

static int empty_truncate(const char *path, off_t length)
{
	(void)path;
	(void)length;
	return 0;
}

static int empty_write(const char *path, const char *data, size_t size, off_t offset,
		       struct fuse_file_info *info)
{
	(void)path;
	(void)data;
	(void)offset;
	(void)info;
	return (int)size;
}

static void *empty_init(struct fuse_conn_info *connection)
{
	(void)connection;
	if (write(ready_fd, "\n", 1) != 1)
		exit(1);
	return NULL;
}

static const struct fuse_operations operations = {
	.getattr = empty_getattr,
	.open = empty_open,
	.truncate = empty_truncate,
	.write = empty_write,
	.init = empty_init,
};

int main(int argc, char **argv)
{
	static char options[] = "use_ino,allow_other,default_permissions,"
				"attr_timeout=0,entry_timeout=0,negative_timeout=0";
	char foreground[] = "-f", one_thread[] = "-s", option[] = "-o";

	if (argc != 3)
		return 2;
	ready_fd = atoi(argv[1]);
	char *arguments[] = { argv[0], foreground, one_thread, option, options, argv[2], NULL };

	return fuse_main(6, arguments, &operations, NULL);
}

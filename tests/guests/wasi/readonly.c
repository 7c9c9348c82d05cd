/* A folder that may only be read. Nothing is changed there, whatever is tried.
 *
 * The documents have ENOTCAPABLE for what a descriptor has no right to. wasmtime-wasi keeps no
 * rights with descriptors, and says EPERM.
 */

#include "suite.h"

void readonly(struct suite *suite)
{
    fd file, root = suite->root;
    char text[20];
    __wasi_filestat_t about;

    is_text(suite, "a file is read", content_of(suite, "file"), "content");
    is_errno(suite, "filestat", __wasi_path_filestat_get(root, 0, "file", &about), 0);
    is_number(suite, "filestat tells the size", about.size, 7);
    is_errno(suite, "open for writing is EPERM", open_path(suite, "file", 0, WRITE, NULL), EPERM);
    is_errno(suite, "open for both is EPERM", open_path(suite, "file", 0, READ | WRITE, NULL), EPERM);
    is_errno(suite, "O_TRUNC is EPERM", open_path(suite, "file", TRUNCATE, READ, NULL), EPERM);
    is_errno(suite, "O_CREAT is EPERM", open_path(suite, "new", CREATE, WRITE, NULL), EPERM);
    is_errno(suite, "O_CREAT for reading is EPERM", open_path(suite, "new", CREATE, READ, NULL), EPERM);
    is_errno(suite, "mkdir is EPERM", __wasi_path_create_directory(root, "new"), EPERM);
    is_errno(suite, "rmdir is EPERM", __wasi_path_remove_directory(root, "folder"), EPERM);
    is_errno(suite, "unlink is EPERM", __wasi_path_unlink_file(root, "file"), EPERM);
    is_errno(suite, "rename is EPERM", __wasi_path_rename(root, "file", root, "new"), EPERM);
    is_errno(suite, "link is EPERM", __wasi_path_link(root, 0, "file", root, "new"), EPERM);
    is_errno(suite, "symlink is EPERM", __wasi_path_symlink("file", root, "new"), EPERM);
    is_errno(suite, "set times is EPERM", __wasi_path_filestat_set_times(root, 0, "file", 1, 1,
             __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM), EPERM);

    is_errno(suite, "open for reading", open_path(suite, "file", 0, READ, &file), 0);
    is_errno(suite, "write is EBADF", write_text(file, "x"), EBADF);
    is_errno(suite, "set the size is EPERM", __wasi_fd_filestat_set_size(file, 0), EPERM);
    is_errno(suite, "set times of a descriptor is EPERM", __wasi_fd_filestat_set_times(file, 1, 1,
             __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM), EPERM);
    is_errno(suite, "read", read_text(file, text, sizeof text), 0);
    is_text(suite, "it is as it was", text, "content");
    is_errno(suite, "close", __wasi_fd_close(file), 0);
}

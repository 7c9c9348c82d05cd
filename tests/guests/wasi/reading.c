/* Reading, writing, positions, sizes and times of files. */

#include <string.h>

#include "suite.h"

static void positions(struct suite *suite, fd file)
{
    char text[20];
    uint64_t at = 99;

    is_errno(suite, "write", write_text(file, "0123456789"), 0);
    is_errno(suite, "tell after writing", __wasi_fd_tell(file, &at), 0);
    is_number(suite, "a write moves the position", at, 10);
    is_errno(suite, "read at the end", read_text(file, text, sizeof text), 0);
    is_text(suite, "the end is no bytes and no error", text, "");
    is_errno(suite, "seek to the start", __wasi_fd_seek(file, 0, __WASI_WHENCE_SET, &at), 0);
    is_errno(suite, "read", read_text(file, text, 5), 0);
    is_text(suite, "a read gives what was asked for", text, "0123");
    is_errno(suite, "seek from here", __wasi_fd_seek(file, -1, __WASI_WHENCE_CUR, &at), 0);
    is_number(suite, "seek tells the new position", at, 3);
    is_errno(suite, "seek from the end", __wasi_fd_seek(file, -2, __WASI_WHENCE_END, &at), 0);
    is_number(suite, "the end is the size", at, 8);
    is_errno(suite, "seek before the start is EINVAL",
             __wasi_fd_seek(file, -1, __WASI_WHENCE_SET, &at), EINVAL);
    is_errno(suite, "seek from here before the start is EINVAL",
             __wasi_fd_seek(file, -9, __WASI_WHENCE_CUR, &at), EINVAL);
    is_errno(suite, "tell", __wasi_fd_tell(file, &at), 0);
    is_number(suite, "a seek that failed moves nothing", at, 8);
}

static void at_offsets(struct suite *suite, fd file)
{
    char text[20];
    uint64_t at = 99;

    is_errno(suite, "pread", pread_text(file, text, 4, 2), 0);
    is_text(suite, "pread reads at its offset", text, "234");
    is_errno(suite, "pread past the end", pread_text(file, text, 4, 100), 0);
    is_text(suite, "pread past the end is no bytes and no error", text, "");
    is_errno(suite, "pwrite", pwrite_text(file, "AB", 4), 0);
    is_text(suite, "pwrite writes at its offset", content_of(suite, "file"), "0123AB6789");
    is_errno(suite, "tell after both", __wasi_fd_tell(file, &at), 0);
    is_number(suite, "pread and pwrite move nothing", at, 8);
    is_errno(suite, "pwrite past the end", pwrite_text(file, "end", 12), 0);
    is_number(suite, "pwrite past the end makes it longer", size_of(suite, "file"), 15);
    is_errno(suite, "read the gap", pread_text(file, text, 3, 10), 0);
    is_number(suite, "the gap is zeros", (uint64_t)(text[0] | text[1]), 0);
}

static void vectors(struct suite *suite, fd file)
{
    /* A host may read or write less than all pieces at once: what matters is that together,
     * with the position that is left, it is the right bytes in the right order. */
    const char *text = "abcdef";
    size_t done = 0, count = 0;
    uint64_t at;
    is_errno(suite, "seek for vectors", __wasi_fd_seek(file, 0, __WASI_WHENCE_SET, &at), 0);
    while (done < 6) {
        size_t half = done < 3 ? 3 - done : 0;
        const uint8_t *rest = (const uint8_t *)text + done;
        __wasi_ciovec_t pieces[] = {{rest, 0}, {rest, half}, {rest + half, 6 - done - half}};
        err error = __wasi_fd_write(file, pieces, 3, &count);
        if (error != 0 || count == 0) {
            is_errno(suite, "write of three pieces", error, 0);
            return;
        }
        done += count;
    }
    is_errno(suite, "seek back", __wasi_fd_seek(file, 0, __WASI_WHENCE_SET, &at), 0);
    uint8_t got[7] = {0};
    for (done = 0; done < 6; done += count) {
        size_t half = done < 2 ? 2 - done : 0;
        __wasi_iovec_t pieces[] = {{got + done, half}, {got, 0}, {got + done + half, 6 - done - half}};
        err error = __wasi_fd_read(file, pieces, 3, &count);
        if (error != 0 || count == 0) {
            is_errno(suite, "read of three pieces", error, 0);
            return;
        }
    }
    is_text(suite, "pieces are in order", (char *)got, text);
    is_errno(suite, "read of no pieces", __wasi_fd_read(file, NULL, 0, &count), 0);
    is_number(suite, "read of no pieces is no bytes", count, 0);
    is_errno(suite, "write of no pieces", __wasi_fd_write(file, NULL, 0, &count), 0);
    is_number(suite, "write of no pieces is no bytes", count, 0);
}

static void sizes(struct suite *suite, fd file)
{
    __wasi_filestat_t about;
    char text[20];

    is_errno(suite, "set the size", __wasi_fd_filestat_set_size(file, 4), 0);
    is_text(suite, "a smaller size cuts", content_of(suite, "file"), "abcd");
    is_errno(suite, "set a larger size", __wasi_fd_filestat_set_size(file, 6), 0);
    is_errno(suite, "read what was added", pread_text(file, text, 3, 4), 0);
    is_number(suite, "what was added is zeros", (uint64_t)(text[0] | text[1]), 0);
    is_errno(suite, "filestat", __wasi_fd_filestat_get(file, &about), 0);
    is_number(suite, "filestat tells the size", about.size, 6);
    is_number(suite, "filestat tells the type", about.filetype, __WASI_FILETYPE_REGULAR_FILE);
    is_number(suite, "filestat counts the links", about.nlink, 1);

    is_errno(suite, "set times", __wasi_fd_filestat_set_times(file, 1000000000, 2000000000,
             __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM), 0);
    is_errno(suite, "filestat again", __wasi_fd_filestat_get(file, &about), 0);
    is_number(suite, "the access time was set", about.atim, 1000000000);
    is_number(suite, "the modification time was set", about.mtim, 2000000000);
    is_errno(suite, "set one time by its path",
             __wasi_path_filestat_set_times(suite->root, FOLLOW, "file",
             0, 3000000000, __WASI_FSTFLAGS_MTIM), 0);
    is_errno(suite, "filestat by its path", __wasi_path_filestat_get(suite->root, 0, "file", &about), 0);
    is_number(suite, "the other time stays", about.atim, 1000000000);
    is_number(suite, "the one is set", about.mtim, 3000000000);
    is_errno(suite, "a time and now together are EINVAL", __wasi_fd_filestat_set_times(file, 1, 1,
             __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW), EINVAL);
}

static void hints(struct suite *suite, fd file)
{
    is_errno(suite, "advise", __wasi_fd_advise(file, 0, 6, __WASI_ADVICE_SEQUENTIAL), 0);
    is_errno(suite, "sync", __wasi_fd_sync(file), 0);
    is_errno(suite, "datasync", __wasi_fd_datasync(file), 0);
    /* Not every system has it, so wasmtime-wasi gives it on none. */
    is_errno(suite, "allocate is ENOTSUP", __wasi_fd_allocate(file, 0, 100), ENOTSUP);
    is_number(suite, "and leaves the size", size_of(suite, "file"), 6);
}

static void appending(struct suite *suite)
{
    fd file;
    uint64_t at = 99;
    __wasi_fdstat_t about;

    make_file(suite, "log", "one ");
    is_errno(suite, "open to append", __wasi_path_open(suite->root, 0, "log", 0, WRITE, 0,
             __WASI_FDFLAGS_APPEND, &file), 0);
    is_errno(suite, "append", write_text(file, "two "), 0);
    is_errno(suite, "seek before appending", __wasi_fd_seek(file, 0, __WASI_WHENCE_SET, &at), 0);
    is_errno(suite, "append after a seek", write_text(file, "three "), 0);
    is_text(suite, "O_APPEND writes at the end, wherever the position is", content_of(suite, "log"),
            "one two three ");
    is_errno(suite, "fdstat", __wasi_fd_fdstat_get(file, &about), 0);
    is_number(suite, "fdstat tells of O_APPEND", about.fs_flags, __WASI_FDFLAGS_APPEND);
    is_errno(suite, "end appending", __wasi_fd_fdstat_set_flags(file, 0), 0);
    is_errno(suite, "seek to write over", __wasi_fd_seek(file, 0, __WASI_WHENCE_SET, &at), 0);
    is_errno(suite, "write over", write_text(file, "ONE"), 0);
    is_text(suite, "without O_APPEND it writes where the position is", content_of(suite, "log"),
            "ONE two three ");
    is_errno(suite, "close", __wasi_fd_close(file), 0);
}

static void directions(struct suite *suite)
{
    fd reader, writer;
    char text[4];

    is_errno(suite, "open for reading", open_path(suite, "file", 0, READ, &reader), 0);
    is_errno(suite, "open for writing", open_path(suite, "file", 0, WRITE, &writer), 0);
    is_errno(suite, "write to a reader is EBADF", write_text(reader, "x"), EBADF);
    is_errno(suite, "pwrite to a reader is EBADF", pwrite_text(reader, "x", 0), EBADF);
    is_errno(suite, "set the size of a reader is EINVAL",
             __wasi_fd_filestat_set_size(reader, 0), EINVAL);
    is_errno(suite, "read from a writer is EBADF", read_text(writer, text, sizeof text), EBADF);
    is_errno(suite, "pread from a writer is EBADF", pread_text(writer, text, sizeof text, 0), EBADF);
    is_number(suite, "nothing was written", size_of(suite, "file"), 6);
    is_errno(suite, "close the reader", __wasi_fd_close(reader), 0);
    is_errno(suite, "close the writer", __wasi_fd_close(writer), 0);
}

/* A file that is gone from its folder lives while it is open. */
static void unlinked(struct suite *suite)
{
    fd file;
    char text[20];
    __wasi_filestat_t about;
    make_file(suite, "gone", "still here");
    is_errno(suite, "open what goes away", open_path(suite, "gone", 0, READ, &file), 0);
    is_errno(suite, "unlink an open file", __wasi_path_unlink_file(suite->root, "gone"), 0);
    is_errno(suite, "read an unlinked file", read_text(file, text, sizeof text), 0);
    is_text(suite, "an unlinked file keeps its content", text, "still here");
    is_errno(suite, "filestat of an unlinked file", __wasi_fd_filestat_get(file, &about), 0);
    is_number(suite, "it has no links", about.nlink, 0);
    is_errno(suite, "close the unlinked file", __wasi_fd_close(file), 0);
}

void reading(struct suite *suite)
{
    fd file;
    is_errno(suite, "create", open_path(suite, "file", CREATE, READ | WRITE, &file), 0);
    positions(suite, file);
    at_offsets(suite, file);
    vectors(suite, file);
    sizes(suite, file);
    hints(suite, file);
    is_errno(suite, "close what was created", __wasi_fd_close(file), 0);
    appending(suite);
    directions(suite);
    unlinked(suite);
}

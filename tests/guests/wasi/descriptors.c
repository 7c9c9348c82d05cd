/* Descriptors: what they tell, renumbering and closing them, and those that come granted. */

#include <string.h>

#include "suite.h"

static void unknown(struct suite *suite)
{
    char text[4];
    uint64_t at;
    size_t used;
    uint8_t byte;
    __wasi_fdstat_t about;
    __wasi_filestat_t stat;
    __wasi_prestat_t prestat;
    fd file;

    is_errno(suite, "fd_close of none is EBADF", __wasi_fd_close(NO_FD), EBADF);
    is_errno(suite, "fd_read of none is EBADF", read_text(NO_FD, text, sizeof text), EBADF);
    is_errno(suite, "fd_pread of none is EBADF", pread_text(NO_FD, text, sizeof text, 0), EBADF);
    is_errno(suite, "fd_write of none is EBADF", write_text(NO_FD, "x"), EBADF);
    is_errno(suite, "fd_pwrite of none is EBADF", pwrite_text(NO_FD, "x", 0), EBADF);
    is_errno(suite, "fd_seek of none is EBADF", __wasi_fd_seek(NO_FD, 0, __WASI_WHENCE_SET, &at), EBADF);
    is_errno(suite, "fd_tell of none is EBADF", __wasi_fd_tell(NO_FD, &at), EBADF);
    is_errno(suite, "fd_sync of none is EBADF", __wasi_fd_sync(NO_FD), EBADF);
    is_errno(suite, "fd_datasync of none is EBADF", __wasi_fd_datasync(NO_FD), EBADF);
    is_errno(suite, "fd_advise of none is EBADF", __wasi_fd_advise(NO_FD, 0, 0, 0), EBADF);
    is_errno(suite, "fd_allocate of none is EBADF", __wasi_fd_allocate(NO_FD, 0, 1), EBADF);
    is_errno(suite, "fd_fdstat_get of none is EBADF", __wasi_fd_fdstat_get(NO_FD, &about), EBADF);
    is_errno(suite, "fd_fdstat_set_flags of none is EBADF", __wasi_fd_fdstat_set_flags(NO_FD, 0), EBADF);
    is_errno(suite, "fd_filestat_get of none is EBADF", __wasi_fd_filestat_get(NO_FD, &stat), EBADF);
    is_errno(suite, "fd_filestat_set_size of none is EBADF",
             __wasi_fd_filestat_set_size(NO_FD, 0), EBADF);
    is_errno(suite, "fd_filestat_set_times of none is EBADF",
             __wasi_fd_filestat_set_times(NO_FD, 0, 0, 0), EBADF);
    is_errno(suite, "fd_prestat_get of none is EBADF", __wasi_fd_prestat_get(NO_FD, &prestat), EBADF);
    is_errno(suite, "fd_prestat_dir_name of none is EBADF",
             __wasi_fd_prestat_dir_name(NO_FD, &byte, 1), EBADF);
    is_errno(suite, "fd_readdir of none is EBADF", __wasi_fd_readdir(NO_FD, &byte, 1, 0, &used), EBADF);
    is_errno(suite, "fd_renumber from none is EBADF", __wasi_fd_renumber(NO_FD, 1), EBADF);
    is_errno(suite, "fd_renumber to none is EBADF", __wasi_fd_renumber(1, NO_FD), EBADF);
    is_errno(suite, "path_open below none is EBADF",
             __wasi_path_open(NO_FD, 0, "x", 0, READ, 0, 0, &file), EBADF);
    is_errno(suite, "path_filestat_get below none is EBADF",
             __wasi_path_filestat_get(NO_FD, 0, "x", &stat), EBADF);
    is_errno(suite, "path_create_directory below none is EBADF",
             __wasi_path_create_directory(NO_FD, "x"), EBADF);
    is_errno(suite, "path_remove_directory below none is EBADF",
             __wasi_path_remove_directory(NO_FD, "x"), EBADF);
    is_errno(suite, "path_unlink_file below none is EBADF", __wasi_path_unlink_file(NO_FD, "x"), EBADF);
    is_errno(suite, "path_readlink below none is EBADF",
             __wasi_path_readlink(NO_FD, "x", &byte, 1, &used), EBADF);
    is_errno(suite, "path_symlink below none is EBADF", __wasi_path_symlink("x", NO_FD, "y"), EBADF);
    is_errno(suite, "path_rename from none is EBADF",
             __wasi_path_rename(NO_FD, "x", suite->root, "y"), EBADF);
    is_errno(suite, "path_rename to none is EBADF",
             __wasi_path_rename(suite->root, "x", NO_FD, "y"), EBADF);
    is_errno(suite, "path_link from none is EBADF",
             __wasi_path_link(NO_FD, 0, "x", suite->root, "y"), EBADF);
}

static void telling(struct suite *suite, fd file, fd folder)
{
    __wasi_fdstat_t about;
    __wasi_filestat_t stat;
    uint64_t at;

    is_errno(suite, "fdstat of a file", __wasi_fd_fdstat_get(file, &about), 0);
    is_number(suite, "a file is a regular file", about.fs_filetype, __WASI_FILETYPE_REGULAR_FILE);
    is_number(suite, "a file has no flags by itself", about.fs_flags, 0);
    is_number(suite, "a reader may read", (about.fs_rights_base & READ) != 0, 1);
    is_number(suite, "a reader may not write", (about.fs_rights_base & WRITE) != 0, 0);
    is_errno(suite, "set O_APPEND", __wasi_fd_fdstat_set_flags(file, __WASI_FDFLAGS_APPEND), 0);
    is_errno(suite, "fdstat after it", __wasi_fd_fdstat_get(file, &about), 0);
    is_number(suite, "flags that were set are told", about.fs_flags, __WASI_FDFLAGS_APPEND);
    is_errno(suite, "set O_NONBLOCK", __wasi_fd_fdstat_set_flags(file, __WASI_FDFLAGS_NONBLOCK), 0);
    is_errno(suite, "fdstat after that", __wasi_fd_fdstat_get(file, &about), 0);
    is_number(suite, "flags replace those before", about.fs_flags, __WASI_FDFLAGS_NONBLOCK);

    is_errno(suite, "fdstat of a folder", __wasi_fd_fdstat_get(folder, &about), 0);
    is_number(suite, "a folder is a folder", about.fs_filetype, __WASI_FILETYPE_DIRECTORY);
    is_number(suite, "a folder cannot be sought in",
              (about.fs_rights_base & __WASI_RIGHTS_FD_SEEK) != 0, 0);
    is_errno(suite, "filestat of a folder", __wasi_fd_filestat_get(folder, &stat), 0);
    is_number(suite, "a folder's type", stat.filetype, __WASI_FILETYPE_DIRECTORY);
    is_errno(suite, "seek in a folder is EBADF",
             __wasi_fd_seek(folder, 0, __WASI_WHENCE_SET, &at), EBADF);
    is_errno(suite, "set the size of a folder is EBADF", __wasi_fd_filestat_set_size(folder, 0), EBADF);

    is_errno(suite, "fdstat of standard output", __wasi_fd_fdstat_get(1, &about), 0);
    is_number(suite, "standard output may be written", (about.fs_rights_base & WRITE) != 0, 1);
    is_number(suite, "standard output may not be read", (about.fs_rights_base & READ) != 0, 0);
    is_errno(suite, "seek in standard output is ESPIPE",
             __wasi_fd_seek(1, 0, __WASI_WHENCE_SET, &at), ESPIPE);
    is_errno(suite, "tell of standard input is ESPIPE", __wasi_fd_tell(0, &at), ESPIPE);
}

static void renumbering(struct suite *suite, fd file, fd folder)
{
    char text[20];
    fd next;
    is_errno(suite, "renumber to itself", __wasi_fd_renumber(file, file), 0);
    is_errno(suite, "renumber over another", __wasi_fd_renumber(file, folder), 0);
    is_errno(suite, "the old number is EBADF", read_text(file, text, sizeof text), EBADF);
    is_errno(suite, "the new number reads", read_text(folder, text, sizeof text), 0);
    is_text(suite, "the new number is the file", text, "content");
    is_errno(suite, "open another", open_path(suite, "file", 0, READ, &next), 0);
    is_number(suite, "it has a number that nothing else has", next == folder, 0);
    is_errno(suite, "it reads on its own", read_text(next, text, sizeof text), 0);
    is_text(suite, "from its own start", text, "content");
    is_errno(suite, "close it", __wasi_fd_close(next), 0);
    is_errno(suite, "close it again is EBADF", __wasi_fd_close(next), EBADF);
    is_errno(suite, "close the renumbered one", __wasi_fd_close(folder), 0);
}

void descriptors(struct suite *suite)
{
    fd file, folder;
    make_file(suite, "file", "content");
    make_folder(suite, "folder");
    unknown(suite);
    is_errno(suite, "open a file", open_path(suite, "file", 0, READ, &file), 0);
    is_errno(suite, "open a folder", open_path(suite, "folder", FOLDER, READ, &folder), 0);
    telling(suite, file, folder);
    renumbering(suite, file, folder);
}

void closing(struct suite *suite)
{
    __wasi_prestat_t prestat;
    fd folder;
    char text[4];
    is_errno(suite, "open what is below", open_path(suite, "folder", FOLDER, READ, &folder), 0);
    is_errno(suite, "close a granted folder", __wasi_fd_close(suite->root), 0);
    is_errno(suite, "it is EBADF", open_path(suite, "folder", FOLDER, READ, NULL), EBADF);
    is_errno(suite, "it is granted no more", __wasi_fd_prestat_get(suite->root, &prestat), EBADF);
    /* What was opened through it stays open, with no way up. */
    suite->root = folder;
    is_text(suite, "what was opened below it works", content_of(suite, "file"), "below");
    is_errno(suite, "and leads nowhere else", open_path(suite, "..", FOLDER, READ, NULL), EPERM);
    is_errno(suite, "close standard input", __wasi_fd_close(0), 0);
    is_errno(suite, "it cannot be read", read_text(0, text, sizeof text), EBADF);
    is_errno(suite, "a file opens after that", open_path(suite, "file", 0, READ, &folder), 0);
    is_errno(suite, "and reads", read_text(folder, text, sizeof text), 0);
    is_text(suite, "its own content and not that of what was closed", text, "bel");
}

/* The words are the names that the folders are granted at, in order. */
void preopens(struct suite *suite)
{
    __wasi_prestat_t prestat;
    char name[100];
    for (int i = 0; i < suite->count; i++) {
        fd folder = suite->root + i;
        const char *word = suite->words[i];
        size_t length = strlen(word);
        is_errno(suite, "prestat of a granted folder", __wasi_fd_prestat_get(folder, &prestat), 0);
        is_number(suite, "it is a folder", prestat.tag, __WASI_PREOPENTYPE_DIR);
        is_number(suite, "how long its name is", prestat.u.dir.pr_name_len, length);
        memset(name, '#', sizeof name);
        is_errno(suite, "its name", __wasi_fd_prestat_dir_name(folder, (uint8_t *)name, length), 0);
        is_number(suite, "no more than the name is written", (uint8_t)name[length], '#');
        name[length] = '\0';
        is_text(suite, "the name it is granted at", name, word);
        is_errno(suite, "no room for the name is ENAMETOOLONG",
                 __wasi_fd_prestat_dir_name(folder, (uint8_t *)name, length - 1), ENAMETOOLONG);
    }
    fd last = suite->root + suite->count;
    is_errno(suite, "there is no other", __wasi_fd_prestat_get(last, &prestat), EBADF);
    is_errno(suite, "standard input is no granted folder", __wasi_fd_prestat_get(0, &prestat), EBADF);
    if (suite->count > 0)
        is_errno(suite, "no descriptor leads up from one",
                 open_path(suite, "..", FOLDER, READ, NULL), EPERM);
    for (int i = 0; i + 1 < suite->count; i++) {
        is_errno(suite, "each folder is its own",
                 __wasi_fd_renumber(suite->root + i + 1, suite->root), 0);
        is_errno(suite, "and may be given another's number",
                 __wasi_fd_prestat_get(suite->root, &prestat), 0);
        is_number(suite, "with its name", prestat.u.dir.pr_name_len, strlen(suite->words[i + 1]));
    }
}

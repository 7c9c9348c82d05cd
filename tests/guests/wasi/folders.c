/* Creating and removing folders, unlinking files, reading folders. */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "suite.h"

static err create(struct suite *suite, const char *path)
{
    return __wasi_path_create_directory(suite->root, path);
}

static err remove_folder(struct suite *suite, const char *path)
{
    return __wasi_path_remove_directory(suite->root, path);
}

static err unlink_file(struct suite *suite, const char *path)
{
    return __wasi_path_unlink_file(suite->root, path);
}

static void creating(struct suite *suite)
{
    __wasi_filetype_t type;
    is_errno(suite, "mkdir", create(suite, "folder"), 0);
    type_of(suite, "folder", &type);
    is_number(suite, "what mkdir made is a folder", type, __WASI_FILETYPE_DIRECTORY);
    is_errno(suite, "mkdir again is EEXIST", create(suite, "folder"), EEXIST);
    is_errno(suite, "mkdir new/ creates", create(suite, "slashed/"), 0);
    is_errno(suite, "mkdir folder/ is EEXIST", create(suite, "slashed/"), EEXIST);
    is_errno(suite, "mkdir over a file is EEXIST", create(suite, "file"), EEXIST);
    is_errno(suite, "mkdir over a dangling link is EEXIST", create(suite, "dangling"), EEXIST);
    is_errno(suite, "mkdir below a file is ENOTDIR", create(suite, "file/new"), ENOTDIR);
    is_errno(suite, "mkdir below nothing is ENOENT", create(suite, "none/new"), ENOENT);
    is_errno(suite, "mkdir below a folder", create(suite, "folder/below"), 0);
    is_errno(suite, "mkdir . is EEXIST", create(suite, "."), EEXIST);
    is_errno(suite, "mkdir of an empty path is ENOENT", create(suite, ""), ENOENT);
    is_errno(suite, "mkdir ../new is EPERM", create(suite, "../new"), EPERM);
    is_errno(suite, "mkdir /new is EPERM", create(suite, "/new"), EPERM);
}

static void removing(struct suite *suite)
{
    is_errno(suite, "rmdir of a full folder is ENOTEMPTY", remove_folder(suite, "folder"), ENOTEMPTY);
    is_errno(suite, "rmdir of a file is ENOTDIR", remove_folder(suite, "file"), ENOTDIR);
    is_errno(suite, "rmdir of a link is ENOTDIR", remove_folder(suite, "to-folder"), ENOTDIR);
    is_errno(suite, "rmdir of nothing is ENOENT", remove_folder(suite, "none"), ENOENT);
    is_errno(suite, "rmdir file/ is ENOTDIR", remove_folder(suite, "file/"), ENOTDIR);
    is_errno(suite, "rmdir link/ is ENOTDIR", remove_folder(suite, "to-folder/"), ENOTDIR);
    is_errno(suite, "rmdir none/ is ENOENT", remove_folder(suite, "none/"), ENOENT);
    is_errno(suite, "rmdir . is EINVAL", remove_folder(suite, "."), EINVAL);
    is_errno(suite, "rmdir .. is EPERM", remove_folder(suite, ".."), EPERM);
    is_errno(suite, "rmdir folder/", remove_folder(suite, "slashed/"), 0);
    is_errno(suite, "rmdir", remove_folder(suite, "folder/below"), 0);
    is_errno(suite, "rmdir once more is ENOENT", remove_folder(suite, "folder/below"), ENOENT);

    is_errno(suite, "unlink of a folder is EISDIR", unlink_file(suite, "folder"), EISDIR);
    is_errno(suite, "unlink folder/ is EISDIR", unlink_file(suite, "folder/"), EISDIR);
    is_errno(suite, "unlink file/ is ENOTDIR", unlink_file(suite, "file/"), ENOTDIR);
    is_errno(suite, "unlink of nothing is ENOENT", unlink_file(suite, "none"), ENOENT);
    is_errno(suite, "unlink none/ is ENOENT", unlink_file(suite, "none/"), ENOENT);
    is_errno(suite, "unlink below a file is ENOTDIR", unlink_file(suite, "file/below"), ENOTDIR);
    is_errno(suite, "unlink ../x is EPERM", unlink_file(suite, "../x"), EPERM);
    is_errno(suite, "unlink of a dangling link", unlink_file(suite, "dangling"), 0);
    is_errno(suite, "unlink of a link to a folder", unlink_file(suite, "to-folder"), 0);
    is_errno(suite, "what a link led to stays", open_path(suite, "folder", FOLDER, READ, NULL), 0);
    is_errno(suite, "unlink", unlink_file(suite, "file"), 0);
    is_errno(suite, "unlink once more is ENOENT", unlink_file(suite, "file"), ENOENT);
}

void folders(struct suite *suite)
{
    make_file(suite, "file", "content");
    make_link(suite, "nowhere", "dangling");
    make_link(suite, "folder", "to-folder");
    creating(suite);
    removing(suite);
}

enum { MANY = 200 };

/* What a whole reading of a folder met. */
struct seen {
    int files[MANY];
    int dot;
    int dot_dot;
    int others;
    /* Whether each entry was what its type says. */
    bool types_fit;
};

static void note(struct seen *seen, const __wasi_dirent_t *entry, const char *name)
{
    char own[20];
    snprintf(own, sizeof own, "%.*s", (int)entry->d_namlen, name);
    int number;
    __wasi_filetype_t type = __WASI_FILETYPE_DIRECTORY;
    if (strcmp(own, ".") == 0)
        seen->dot++;
    else if (strcmp(own, "..") == 0)
        seen->dot_dot++;
    else if (sscanf(own, "file-%d", &number) == 1 && number >= 0 && number < MANY) {
        seen->files[number]++;
        type = __WASI_FILETYPE_REGULAR_FILE;
    } else
        seen->others++;
    seen->types_fit &= entry->d_type == type;
}

/* Reads the folder in pieces of `room` bytes. Only the entries that are whole count, and the
 * next piece begins after the last of them. */
static err read_all(fd folder, size_t room, struct seen *seen)
{
    uint8_t buffer[4096];
    uint64_t cookie = __WASI_DIRCOOKIE_START;
    memset(seen, 0, sizeof *seen);
    seen->types_fit = true;
    for (;;) {
        size_t used = 0;
        err error = __wasi_fd_readdir(folder, buffer, room, cookie, &used);
        if (error != 0)
            return error;
        size_t at = 0;
        __wasi_dirent_t entry;
        while (used - at >= sizeof entry) {
            memcpy(&entry, buffer + at, sizeof entry);
            if (used - at - sizeof entry < entry.d_namlen)
                break;
            note(seen, &entry, (char *)buffer + at + sizeof entry);
            at += sizeof entry + entry.d_namlen;
            cookie = entry.d_next;
        }
        if (used < room)
            return 0;
        if (at == 0)
            return ENOBUFS;
    }
}

static void is_complete(struct suite *suite, const char *name, const struct seen *seen)
{
    int once = 0;
    for (int i = 0; i < MANY; i++)
        once += seen->files[i] == 1;
    is_number(suite, name, (uint64_t)once, MANY);
    is_number(suite, ". is there once", (uint64_t)seen->dot, 1);
    is_number(suite, ".. is there once", (uint64_t)seen->dot_dot, 1);
    is_number(suite, "nothing else is there", (uint64_t)seen->others, 0);
    is_number(suite, "the types are right", seen->types_fit, 1);
}

void listing(struct suite *suite)
{
    struct seen seen;
    fd folder, file;
    char path[40];
    uint8_t buffer[200];
    size_t used = 99;
    __wasi_dirent_t first, again;

    make_folder(suite, "many");
    is_errno(suite, "open the folder", open_path(suite, "many", FOLDER, READ, &folder), 0);
    is_errno(suite, "read an empty folder", read_all(folder, sizeof buffer, &seen), 0);
    is_number(suite, "an empty folder has . and ..", (uint64_t)(seen.dot + seen.dot_dot), 2);
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "many/file-%d", i);
        make_file(suite, path, "");
    }
    is_errno(suite, "read with a large buffer", read_all(folder, 4096, &seen), 0);
    is_complete(suite, "a large buffer shows each entry once", &seen);
    is_errno(suite, "read with a small buffer", read_all(folder, 40, &seen), 0);
    is_complete(suite, "a small buffer shows each entry once", &seen);
    is_errno(suite, "read with a buffer that cuts entries", read_all(folder, 101, &seen), 0);
    is_complete(suite, "a buffer that cuts entries shows each once", &seen);

    is_errno(suite, "read the first entry",
             __wasi_fd_readdir(folder, buffer, sizeof buffer, 0, &used), 0);
    memcpy(&first, buffer, sizeof first);
    is_number(suite, "a buffer that is too small is filled", used, sizeof buffer);
    is_errno(suite, "read from the first entry's cookie",
             __wasi_fd_readdir(folder, buffer, sizeof buffer, first.d_next, &used), 0);
    memcpy(&again, buffer, sizeof again);
    is_number(suite, "a cookie goes on after its entry", again.d_next == first.d_next, 0);
    is_errno(suite, "read into less than a header", __wasi_fd_readdir(folder, buffer, 10, 0, &used), 0);
    is_number(suite, "as much as fits is written", used, 10);
    is_errno(suite, "read into nothing", __wasi_fd_readdir(folder, buffer, 0, 0, &used), 0);
    is_number(suite, "nothing fits into nothing", used, 0);
    is_errno(suite, "read from a cookie past the end",
             __wasi_fd_readdir(folder, buffer, sizeof buffer, 1000000, &used), 0);
    is_number(suite, "there is nothing past the end", used, 0);

    is_errno(suite, "unlink what was listed", __wasi_path_unlink_file(folder, "file-7"), 0);
    is_errno(suite, "read again from the start", read_all(folder, 4096, &seen), 0);
    is_number(suite, "a new reading does not show what is gone", (uint64_t)seen.files[7], 0);
    is_errno(suite, "close the folder", __wasi_fd_close(folder), 0);

    is_errno(suite, "open a file", open_path(suite, "many/file-1", 0, READ, &file), 0);
    /* The documents name no errno; wasmtime-wasi says EBADF where POSIX would say ENOTDIR. */
    is_errno(suite, "readdir of a file is EBADF", __wasi_fd_readdir(file, buffer, 10, 0, &used), EBADF);
    is_errno(suite, "close the file", __wasi_fd_close(file), 0);
}

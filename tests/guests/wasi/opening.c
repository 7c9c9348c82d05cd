/* path_open: flags, types, paths. */

#include <string.h>

#include "suite.h"

static void creating(struct suite *suite)
{
    __wasi_filetype_t type;

    is_errno(suite, "open a missing file is ENOENT", open_path(suite, "new", 0, READ, NULL), ENOENT);
    is_errno(suite, "O_CREAT creates", open_path(suite, "new", CREATE, WRITE, NULL), 0);
    is_number(suite, "what O_CREAT created is empty", size_of(suite, "new"), 0);
    type_of(suite, "new", &type);
    is_number(suite, "what O_CREAT created is a regular file", type, __WASI_FILETYPE_REGULAR_FILE);

    make_file(suite, "full", "content");
    is_errno(suite, "O_CREAT opens what exists",
             open_path(suite, "full", CREATE, READ | WRITE, NULL), 0);
    is_text(suite, "O_CREAT keeps what exists", content_of(suite, "full"), "content");
    is_errno(suite, "O_EXCL over a file is EEXIST",
             open_path(suite, "full", CREATE | EXCLUSIVE, WRITE, NULL), EEXIST);
    is_errno(suite, "O_EXCL over a folder is EEXIST",
             open_path(suite, "folder", CREATE | EXCLUSIVE, WRITE, NULL), EEXIST);
    is_errno(suite, "O_EXCL over a dangling link is EEXIST",
             open_path(suite, "dangling", CREATE | EXCLUSIVE, WRITE, NULL), EEXIST);
    is_errno(suite, "O_EXCL of a new file creates",
             open_path(suite, "exclusive", CREATE | EXCLUSIVE, WRITE, NULL), 0);
    is_errno(suite, "O_TRUNC opens", open_path(suite, "full", TRUNCATE, WRITE, NULL), 0);
    is_number(suite, "O_TRUNC empties", size_of(suite, "full"), 0);
    is_errno(suite, "O_TRUNC of a missing file is ENOENT",
             open_path(suite, "none", TRUNCATE, WRITE, NULL), ENOENT);
    is_errno(suite, "O_CREAT in a missing folder is ENOENT",
             open_path(suite, "none/new", CREATE, WRITE, NULL), ENOENT);
}

static void types(struct suite *suite)
{
    make_file(suite, "file", "content");
    is_errno(suite, "O_DIRECTORY of a file is ENOTDIR",
             open_path(suite, "file", FOLDER, READ, NULL), ENOTDIR);
    is_errno(suite, "O_DIRECTORY of a folder opens", open_path(suite, "folder", FOLDER, READ, NULL), 0);
    is_errno(suite, "a folder opens without O_DIRECTORY", open_path(suite, "folder", 0, READ, NULL), 0);
    is_errno(suite, "O_DIRECTORY of nothing is ENOENT",
             open_path(suite, "none", FOLDER, READ, NULL), ENOENT);
    is_errno(suite, "O_CREAT with O_DIRECTORY is EINVAL",
             open_path(suite, "both", CREATE | FOLDER, WRITE, NULL), EINVAL);
    is_errno(suite, "a folder for writing is EISDIR",
             open_path(suite, "folder", 0, WRITE, NULL), EISDIR);
    is_errno(suite, "O_TRUNC of a folder is EISDIR",
             open_path(suite, "folder", TRUNCATE, WRITE, NULL), EISDIR);
    is_errno(suite, "O_CREAT over a folder is EISDIR",
             open_path(suite, "folder", CREATE, WRITE, NULL), EISDIR);
}

static void paths(struct suite *suite)
{
    char name[300];
    fd file;

    is_errno(suite, "file/ is ENOTDIR", open_path(suite, "file/", 0, READ, NULL), ENOTDIR);
    is_errno(suite, "file/. is ENOTDIR", open_path(suite, "file/.", 0, READ, NULL), ENOTDIR);
    is_errno(suite, "file/below is ENOTDIR", open_path(suite, "file/below", 0, READ, NULL), ENOTDIR);
    is_errno(suite, "file/../file is ENOTDIR", open_path(suite, "file/../file", 0, READ, NULL), ENOTDIR);
    is_errno(suite, "none/ is ENOENT", open_path(suite, "none/", 0, READ, NULL), ENOENT);
    is_errno(suite, "none/.. is ENOENT", open_path(suite, "none/../file", 0, READ, NULL), ENOENT);
    is_errno(suite, "O_CREAT of new/ is EISDIR",
             open_path(suite, "slashed/", CREATE, WRITE, NULL), EISDIR);
    is_errno(suite, "folder/ opens", open_path(suite, "folder/", 0, READ, NULL), 0);
    is_errno(suite, "folder/../file opens", open_path(suite, "folder/../file", 0, READ, NULL), 0);
    is_errno(suite, "./file opens", open_path(suite, "./file", 0, READ, NULL), 0);
    is_errno(suite, ".//./file opens", open_path(suite, ".//./file", 0, READ, NULL), 0);
    is_errno(suite, ". opens", open_path(suite, ".", FOLDER, READ, NULL), 0);
    is_errno(suite, "an empty path is ENOENT", open_path(suite, "", 0, READ, NULL), ENOENT);
    is_errno(suite, ".. is EPERM", open_path(suite, "..", 0, READ, NULL), EPERM);
    is_errno(suite, "folder/../.. is EPERM", open_path(suite, "folder/../..", 0, READ, NULL), EPERM);
    is_errno(suite, "an absolute path is EPERM", open_path(suite, "/file", 0, READ, NULL), EPERM);

    memset(name, 'n', 256);
    name[256] = '\0';
    is_errno(suite, "a name of 256 bytes is ENAMETOOLONG", open_path(suite, name, CREATE, WRITE, NULL),
             ENAMETOOLONG);
    name[255] = '\0';
    is_errno(suite, "a name of 255 bytes is created", open_path(suite, name, CREATE, WRITE, NULL), 0);
    is_errno(suite, "a name with spaces and letters of all kinds is created",
             open_path(suite, "a b \xc3\xa9 \xe2\x98\x83", CREATE, WRITE, NULL), 0);

    is_errno(suite, "open a file to look below", open_path(suite, "file", 0, READ, &file), 0);
    fd below;
    is_errno(suite, "a path below a file's descriptor is ENOTDIR",
             __wasi_path_open(file, 0, "file", 0, READ, 0, 0, &below), ENOTDIR);
    is_errno(suite, "close that file", __wasi_fd_close(file), 0);
}

static void through_links(struct suite *suite)
{
    fd file;
    is_errno(suite, "a link is followed", open_path(suite, "link", 0, READ, NULL), 0);
    is_errno(suite, "a link without following is ELOOP",
             __wasi_path_open(suite->root, 0, "link", 0, READ, 0, 0, &file), ELOOP);
    is_errno(suite, "link/ to a file is ENOTDIR", open_path(suite, "link/", 0, READ, NULL), ENOTDIR);
    is_errno(suite, "a link to a folder leads below it",
             open_path(suite, "to-folder/file", 0, READ, NULL), 0);
    is_errno(suite, "a link in the middle is followed always",
             __wasi_path_open(suite->root, 0, "to-folder/file", 0, READ, 0, 0, &file), 0);
    is_errno(suite, "close what was below", __wasi_fd_close(file), 0);
    is_errno(suite, "a dangling link is ENOENT", open_path(suite, "dangling", 0, READ, NULL), ENOENT);
    is_errno(suite, "a loop of links is ELOOP", open_path(suite, "loop", 0, READ, NULL), ELOOP);
    is_errno(suite, "a link out is EPERM", open_path(suite, "out", 0, READ, NULL), EPERM);
    is_errno(suite, "an absolute link is EPERM", open_path(suite, "absolute", 0, READ, NULL), EPERM);
    is_errno(suite, "O_CREAT through a dangling link creates what it leads to",
             open_path(suite, "dangling", CREATE, WRITE, NULL), 0);
    is_errno(suite, "it is there", open_path(suite, "nowhere", 0, READ, NULL), 0);
}

void opening(struct suite *suite)
{
    make_folder(suite, "folder");
    make_file(suite, "folder/file", "below");
    make_link(suite, "nowhere", "dangling");
    make_link(suite, "file", "link");
    make_link(suite, "folder", "to-folder");
    make_link(suite, "loop", "loop");
    make_link(suite, "../out", "out");
    creating(suite);
    types(suite);
    paths(suite);
    through_links(suite);
}

/* path_rename, and all kinds of links. */

#include <string.h>

#include "suite.h"

static err rename_path(struct suite *suite, const char *from, const char *to)
{
    return __wasi_path_rename(suite->root, from, suite->root, to);
}

static void renaming_files(struct suite *suite)
{
    make_file(suite, "one", "1");
    make_file(suite, "two", "2");
    is_errno(suite, "rename", rename_path(suite, "one", "new"), 0);
    is_text(suite, "what is renamed keeps its content", content_of(suite, "new"), "1");
    is_errno(suite, "its old name is gone", open_path(suite, "one", 0, READ, NULL), ENOENT);
    is_errno(suite, "rename over a file", rename_path(suite, "new", "two"), 0);
    is_text(suite, "a rename replaces", content_of(suite, "two"), "1");
    is_errno(suite, "rename to itself", rename_path(suite, "two", "two"), 0);
    is_text(suite, "a rename to itself changes nothing", content_of(suite, "two"), "1");
    is_errno(suite, "rename of nothing is ENOENT", rename_path(suite, "none", "new"), ENOENT);
    is_errno(suite, "rename into nothing is ENOENT", rename_path(suite, "two", "none/two"), ENOENT);
    is_errno(suite, "rename below a file is ENOTDIR", rename_path(suite, "two", "two/below"), ENOTDIR);
    is_errno(suite, "rename of file/ is ENOTDIR", rename_path(suite, "two/", "new"), ENOTDIR);
    is_errno(suite, "rename of a file to new/ is ENOTDIR", rename_path(suite, "two", "new/"), ENOTDIR);
    is_errno(suite, "rename to ../x is EPERM", rename_path(suite, "two", "../two"), EPERM);
    is_errno(suite, "rename of ../x is EPERM", rename_path(suite, "../two", "two"), EPERM);
    is_errno(suite, "rename to /x is EPERM", rename_path(suite, "two", "/two"), EPERM);
    is_text(suite, "what was not renamed is there", content_of(suite, "two"), "1");
}

static void renaming_folders(struct suite *suite)
{
    make_folder(suite, "full");
    make_file(suite, "full/file", "content");
    make_folder(suite, "empty");
    is_errno(suite, "rename a folder", rename_path(suite, "full", "moved"), 0);
    is_text(suite, "what is in it moves with it", content_of(suite, "moved/file"), "content");
    is_errno(suite, "rename folder/ to new/", rename_path(suite, "moved/", "full/"), 0);
    is_errno(suite, "rename over an empty folder", rename_path(suite, "full", "empty"), 0);
    is_errno(suite, "rename back", rename_path(suite, "empty", "full"), 0);
    make_folder(suite, "empty");
    is_errno(suite, "rename over a full folder is ENOTEMPTY",
             rename_path(suite, "empty", "full"), ENOTEMPTY);
    is_errno(suite, "rename a folder over a file is ENOTDIR",
             rename_path(suite, "empty", "two"), ENOTDIR);
    is_errno(suite, "rename a file over a folder is EISDIR", rename_path(suite, "two", "empty"), EISDIR);
    is_errno(suite, "rename a folder below itself is EINVAL",
             rename_path(suite, "full", "full/below"), EINVAL);
    is_errno(suite, "rename between descriptors", rename_path(suite, "full/file", "empty/file"), 0);
    is_text(suite, "it moved", content_of(suite, "empty/file"), "content");
}

void renaming(struct suite *suite)
{
    renaming_files(suite);
    renaming_folders(suite);

    make_link(suite, "two", "link");
    is_errno(suite, "rename a link", rename_path(suite, "link", "moved-link"), 0);
    __wasi_filetype_t type;
    type_of(suite, "moved-link", &type);
    is_number(suite, "a link is renamed, not what it leads to", type, __WASI_FILETYPE_SYMBOLIC_LINK);
    is_text(suite, "what it leads to stays", content_of(suite, "two"), "1");
}

static err read_link(struct suite *suite, const char *path, char *text, size_t room)
{
    size_t used = 0;
    memset(text, 0, room);
    return __wasi_path_readlink(suite->root, path, (uint8_t *)text, room - 1, &used);
}

static void symbolic(struct suite *suite)
{
    char text[100];
    size_t used = 99;
    __wasi_filestat_t about;
    __wasi_filetype_t type;

    is_errno(suite, "symlink", __wasi_path_symlink("file", suite->root, "soft"), 0);
    is_errno(suite, "readlink", read_link(suite, "soft", text, sizeof text), 0);
    is_text(suite, "readlink tells what it leads to", text, "file");
    is_errno(suite, "readlink into less",
             __wasi_path_readlink(suite->root, "soft", (uint8_t *)text, 2, &used), 0);
    is_number(suite, "readlink gives what fits", used, 2);
    is_errno(suite, "readlink of a file is EINVAL", read_link(suite, "file", text, sizeof text), EINVAL);
    is_errno(suite, "readlink of a folder is EINVAL",
             read_link(suite, "folder", text, sizeof text), EINVAL);
    is_errno(suite, "readlink of nothing is ENOENT",
             read_link(suite, "none", text, sizeof text), ENOENT);
    type_of(suite, "soft", &type);
    is_number(suite, "filestat of a link is the link's", type, __WASI_FILETYPE_SYMBOLIC_LINK);
    is_errno(suite, "filestat that follows",
             __wasi_path_filestat_get(suite->root, FOLLOW, "soft", &about), 0);
    is_number(suite, "filestat that follows is the file's", about.filetype,
              __WASI_FILETYPE_REGULAR_FILE);

    is_errno(suite, "a dangling symlink is made",
             __wasi_path_symlink("nowhere", suite->root, "dangling"), 0);
    is_errno(suite, "filestat of a dangling link", type_of(suite, "dangling", &type), 0);
    is_errno(suite, "filestat that follows a dangling link is ENOENT",
             __wasi_path_filestat_get(suite->root, FOLLOW, "dangling", &about), ENOENT);
    is_errno(suite, "symlink over a file is EEXIST",
             __wasi_path_symlink("x", suite->root, "file"), EEXIST);
    is_errno(suite, "symlink over a link is EEXIST",
             __wasi_path_symlink("x", suite->root, "dangling"), EEXIST);
    is_errno(suite, "symlink over a folder is EEXIST",
             __wasi_path_symlink("x", suite->root, "folder"), EEXIST);
    is_errno(suite, "symlink to new/ is ENOENT", __wasi_path_symlink("x", suite->root, "new/"), ENOENT);
    is_errno(suite, "symlink below nothing is ENOENT",
             __wasi_path_symlink("x", suite->root, "none/x"), ENOENT);
    is_errno(suite, "symlink with an absolute target is EPERM",
             __wasi_path_symlink("/etc/passwd", suite->root, "absolute"), EPERM);
    is_errno(suite, "symlink to an empty target is ENOENT",
             __wasi_path_symlink("", suite->root, "empty"), ENOENT);
}

static err link_path(struct suite *suite, const char *from, const char *to)
{
    return __wasi_path_link(suite->root, 0, from, suite->root, to);
}

static void hard(struct suite *suite)
{
    __wasi_filestat_t one, other;
    is_errno(suite, "link", link_path(suite, "file", "hard"), 0);
    is_errno(suite, "filestat of one", __wasi_path_filestat_get(suite->root, 0, "file", &one), 0);
    is_errno(suite, "filestat of the other",
             __wasi_path_filestat_get(suite->root, 0, "hard", &other), 0);
    is_number(suite, "both are one file", one.ino == other.ino && one.dev == other.dev, 1);
    is_number(suite, "it has two links", one.nlink, 2);
    make_file(suite, "hard", "changed");
    is_text(suite, "a change to one is a change to the other", content_of(suite, "file"), "changed");
    is_errno(suite, "unlink one", __wasi_path_unlink_file(suite->root, "file"), 0);
    is_text(suite, "the other stays", content_of(suite, "hard"), "changed");
    is_errno(suite, "link of nothing is ENOENT", link_path(suite, "none", "new"), ENOENT);
    is_errno(suite, "link over a file is EEXIST", link_path(suite, "hard", "hard"), EEXIST);
    is_errno(suite, "link over a folder is EEXIST", link_path(suite, "hard", "folder"), EEXIST);
    is_errno(suite, "link over a dangling link is EEXIST", link_path(suite, "hard", "dangling"), EEXIST);
    is_errno(suite, "link of a folder is EPERM", link_path(suite, "folder", "new"), EPERM);
    is_errno(suite, "link of file/ is ENOTDIR", link_path(suite, "hard/", "new"), ENOTDIR);
    is_errno(suite, "link to new/ is ENOENT", link_path(suite, "hard", "new/"), ENOENT);
    is_errno(suite, "link to ../x is EPERM", link_path(suite, "hard", "../x"), EPERM);
    is_errno(suite, "link of a symbolic link", link_path(suite, "soft", "soft-too"), 0);
    __wasi_filetype_t type;
    type_of(suite, "soft-too", &type);
    is_number(suite, "is one to the link itself", type, __WASI_FILETYPE_SYMBOLIC_LINK);
}

void links(struct suite *suite)
{
    make_file(suite, "file", "content");
    make_folder(suite, "folder");
    symbolic(suite);
    hard(suite);
}

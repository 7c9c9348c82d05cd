#include "suite.h"

#include <stdio.h>
#include <string.h>

void is_errno(struct suite *suite, const char *name, err got, err want)
{
    if (got == want) {
        printf("ok %s\n", name);
        return;
    }
    suite->failures++;
    printf("FAIL %s: %u (%s), expected %u (%s)\n", name, got, strerror(got), want, strerror(want));
}

void is_number(struct suite *suite, const char *name, uint64_t got, uint64_t want)
{
    if (got == want) {
        printf("ok %s\n", name);
        return;
    }
    suite->failures++;
    printf("FAIL %s: %llu, expected %llu\n", name, (unsigned long long)got, (unsigned long long)want);
}

void is_text(struct suite *suite, const char *name, const char *got, const char *want)
{
    if (strcmp(got, want) == 0) {
        printf("ok %s\n", name);
        return;
    }
    suite->failures++;
    printf("FAIL %s: `%s`, expected `%s`\n", name, got, want);
}

err open_path(struct suite *suite, const char *path, int oflags, int rights, fd *opened)
{
    fd file;
    err error = __wasi_path_open(suite->root, FOLLOW, path, (__wasi_oflags_t)oflags,
                                 (__wasi_rights_t)rights, (__wasi_rights_t)rights, 0, &file);
    if (error == 0 && opened != NULL)
        *opened = file;
    if (error == 0 && opened == NULL)
        error = __wasi_fd_close(file);
    if (error != 0 && opened != NULL)
        *opened = NO_FD;
    return error;
}

/* What a check builds on has to work; where it does not, that is what is told. */
static void must(struct suite *suite, const char *what, const char *path, err error)
{
    if (error == 0)
        return;
    suite->failures++;
    printf("FAIL setting up: %s %s: %u (%s)\n", what, path, error, strerror(error));
}

void make_file(struct suite *suite, const char *path, const char *content)
{
    fd file;
    must(suite, "create", path, open_path(suite, path, CREATE | TRUNCATE, WRITE, &file));
    must(suite, "write", path, write_text(file, content));
    must(suite, "close", path, __wasi_fd_close(file));
}

void make_folder(struct suite *suite, const char *path)
{
    must(suite, "create", path, __wasi_path_create_directory(suite->root, path));
}

void make_link(struct suite *suite, const char *target, const char *path)
{
    must(suite, "link", path, __wasi_path_symlink(target, suite->root, path));
}

const char *content_of(struct suite *suite, const char *path)
{
    static char content[4097];
    fd file;
    content[0] = '\0';
    if (open_path(suite, path, 0, READ, &file) != 0)
        return content;
    if (read_text(file, content, sizeof content) != 0)
        content[0] = '\0';
    must(suite, "close", path, __wasi_fd_close(file));
    return content;
}

err type_of(struct suite *suite, const char *path, __wasi_filetype_t *type)
{
    __wasi_filestat_t about;
    err error = __wasi_path_filestat_get(suite->root, 0, path, &about);
    *type = error == 0 ? about.filetype : __WASI_FILETYPE_UNKNOWN;
    return error;
}

uint64_t size_of(struct suite *suite, const char *path)
{
    __wasi_filestat_t about;
    err error = __wasi_path_filestat_get(suite->root, FOLLOW, path, &about);
    must(suite, "size of", path, error);
    return error == 0 ? about.size : UINT64_MAX;
}

err write_text(fd file, const char *text)
{
    __wasi_ciovec_t piece = {(const uint8_t *)text, strlen(text)};
    size_t written = 0;
    err error = __wasi_fd_write(file, &piece, 1, &written);
    /* A file takes all of so little. */
    return error == 0 && written != piece.buf_len ? EIO : error;
}

err pwrite_text(fd file, const char *text, uint64_t offset)
{
    __wasi_ciovec_t piece = {(const uint8_t *)text, strlen(text)};
    size_t written = 0;
    err error = __wasi_fd_pwrite(file, &piece, 1, offset, &written);
    return error == 0 && written != piece.buf_len ? EIO : error;
}

err read_text(fd file, char *text, size_t room)
{
    __wasi_iovec_t piece = {(uint8_t *)text, room - 1};
    size_t count = 0;
    err error = __wasi_fd_read(file, &piece, 1, &count);
    text[count] = '\0';
    return error;
}

err pread_text(fd file, char *text, size_t room, uint64_t offset)
{
    __wasi_iovec_t piece = {(uint8_t *)text, room - 1};
    size_t count = 0;
    err error = __wasi_fd_pread(file, &piece, 1, offset, &count);
    text[count] = '\0';
    return error;
}

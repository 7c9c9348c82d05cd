/* What the topics share: how a check is told, and short words for what they do all the time.
 *
 * The calls are those of WASI preview 1 as they are, without wasi-libc between, so that it is
 * the host's answer that is checked. An errno here is the same number as libc's.
 */

#ifndef SUITE_H
#define SUITE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <wasi/api.h>

typedef __wasi_fd_t fd;
typedef __wasi_errno_t err;

struct suite {
    /* The first folder that was granted. */
    fd root;
    int failures;
    /* The arguments after the topic. */
    int count;
    char **words;
};

/* Each prints `ok NAME` or `FAIL NAME: …` and counts. A check that is about to fail anyway
 * for one that failed before it says so as well: nothing is left out. */
void is_errno(struct suite *suite, const char *name, err got, err want);
void is_number(struct suite *suite, const char *name, uint64_t got, uint64_t want);
void is_text(struct suite *suite, const char *name, const char *got, const char *want);

enum {
    CREATE = __WASI_OFLAGS_CREAT,
    FOLDER = __WASI_OFLAGS_DIRECTORY,
    EXCLUSIVE = __WASI_OFLAGS_EXCL,
    TRUNCATE = __WASI_OFLAGS_TRUNC,
    READ = __WASI_RIGHTS_FD_READ,
    WRITE = __WASI_RIGHTS_FD_WRITE,
    FOLLOW = __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW,
};

/* A descriptor that was never given. */
static const fd NO_FD = 9999;

/* Opens below the root, following a symbolic link at the end. `opened` may be NULL where it
 * is only of interest whether that works. */
err open_path(struct suite *suite, const char *path, int oflags, int rights, fd *opened);

/* The file with this content; whatever was there is replaced. */
void make_file(struct suite *suite, const char *path, const char *content);
void make_folder(struct suite *suite, const char *path);
void make_link(struct suite *suite, const char *target, const char *path);

/* What the file holds, up to 4096 bytes; an empty text where it cannot be read. Stays until
 * the next call. */
const char *content_of(struct suite *suite, const char *path);

/* The type of what is at `path`, itself and not what it leads to, or the errno in its place. */
err type_of(struct suite *suite, const char *path, __wasi_filetype_t *type);
uint64_t size_of(struct suite *suite, const char *path);

err write_text(fd file, const char *text);
err pwrite_text(fd file, const char *text, uint64_t offset);

/* Reads up to `room - 1` bytes by one call and ends them with a NUL. */
err read_text(fd file, char *text, size_t room);
err pread_text(fd file, char *text, size_t room, uint64_t offset);

typedef void topic(struct suite *suite);
topic opening, reading, folders, listing, renaming, links, descriptors, closing, preopens, readonly;
topic clocks, polling, arguments, randomness, input, output, leaving, nonsense;

#endif

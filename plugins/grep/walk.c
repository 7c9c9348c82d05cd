#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* `folder` and `name` as one path, to be freed; NULL where memory is out. What is below the
 * current folder is named without it, as one would type it. */
static char *join(const char *folder, const char *name)
{
    if (strcmp(folder, ".") == 0)
        return strdup(name);
    size_t length = strlen(folder);
    const char *slash = length > 0 && folder[length - 1] == '/' ? "" : "/";
    size_t room = length + strlen(slash) + strlen(name) + 1;
    char *path = malloc(room);
    if (path != NULL)
        snprintf(path, room, "%s%s%s", folder, slash, name);
    return path;
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* By bytes: alphasort would ask the locale. */
static int by_name(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name);
}

static void visit(const char *path, walk_found *found, void *context)
{
    struct stat about;
    if (lstat(path, &about) != 0)
        found(context, path, errno);
    else if (S_ISDIR(about.st_mode))
        walk(path, found, context);
    else if (S_ISREG(about.st_mode))
        found(context, path, 0);
}

void walk(const char *folder, walk_found *found, void *context)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_entry, by_name);
    if (count < 0) {
        found(context, folder, errno);
        return;
    }
    for (int i = 0; i < count; i++) {
        char *path = join(folder, entries[i]->d_name);
        if (path == NULL)
            found(context, folder, ENOMEM);
        else
            visit(path, found, context);
        free(path);
        free(entries[i]);
    }
    free(entries);
}

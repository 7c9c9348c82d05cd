/* Going through a folder and all below it. */

#ifndef WALK_H
#define WALK_H

/* What was found at `path`: a file where `error` is 0, else something that cannot be read and
 * why. */
typedef void walk_found(void *context, const char *path, int error);

/* Calls `found` for each regular file below `folder`, in the order of their names, so that
 * the same folder gives the same output everywhere. Symbolic links are not followed: one may
 * lead back up, and the walk would not end. */
void walk(const char *folder, walk_found *found, void *context);

#endif

/* Searches files for lines that match a pattern.
 *
 *     grep [-cilnrv] PATTERN [FILE...]
 *
 * PATTERN is a POSIX extended regular expression over bytes. Without a FILE, or where it is
 * `-`, standard input is searched; with -r and no FILE, the current folder is. The exit code
 * is 0 where a line was selected, 1 where none was, 2 where something could not be read.
 */

#include <errno.h>
#include <regex.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "walk.h"

enum { SELECTED = 0, NOTHING_SELECTED = 1, TROUBLE = 2 };

struct search {
    regex_t pattern;
    bool count_only;
    bool names_only;
    bool numbers;
    bool recursive;
    bool invert;
    /* Whether lines are shown with the name of their file. */
    bool show_names;
    bool selected;
    bool trouble;
};

static void complain(struct search *search, const char *name, const char *why)
{
    /* What was found so far comes first, also where both streams are the same terminal. */
    fflush(stdout);
    fprintf(stderr, "grep: %s: %s\n", name, why);
    search->trouble = true;
}

/* Whether the line is one to select. `line` ends with a NUL byte at `length`. */
static bool selects(const struct search *search, char *line, size_t length, bool *binary)
{
    /* A NUL byte would end the text for regexec. A newline stands in for it: a line holds no
     * other, so no pattern was written to find it. */
    for (char *at = line; (at = memchr(at, '\0', length - (size_t)(at - line))) != NULL; at++) {
        *at = '\n';
        *binary = true;
    }
    bool matches = regexec(&search->pattern, line, 0, NULL, 0) == 0;
    return matches != search->invert;
}

static void show(const struct search *search, const char *name, size_t number, const char *line)
{
    if (search->show_names)
        printf("%s:", name);
    if (search->numbers)
        printf("%zu:", number);
    puts(line);
}

static void search_stream(struct search *search, FILE *stream, const char *name)
{
    char *line = NULL;
    size_t room = 0, number = 0, count = 0;
    ssize_t length;
    bool binary = false;

    while ((length = getline(&line, &room, stream)) >= 0) {
        number++;
        if (length > 0 && line[length - 1] == '\n')
            line[--length] = '\0';
        if (!selects(search, line, (size_t)length, &binary))
            continue;
        count++;
        if (search->names_only)
            break;
        if (search->count_only)
            continue;
        if (binary) {
            /* Its bytes are nothing for a terminal. */
            printf("%s: binary file matches\n", name);
            break;
        }
        show(search, name, number, line);
    }
    if (ferror(stream))
        complain(search, name, strerror(errno));
    free(line);

    search->selected |= count > 0;
    if (search->names_only) {
        if (count > 0)
            puts(name);
    } else if (search->count_only) {
        if (search->show_names)
            printf("%s:", name);
        printf("%zu\n", count);
    }
}

static void search_file(struct search *search, const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        complain(search, path, strerror(errno));
        return;
    }
    search_stream(search, file, path);
    fclose(file);
}

/* Called by walk for each file below a folder, and for what cannot be read there. */
static void found(void *context, const char *path, int error)
{
    if (error != 0)
        complain(context, path, strerror(error));
    else
        search_file(context, path);
}

static void search_path(struct search *search, const char *path)
{
    struct stat about;
    if (strcmp(path, "-") == 0)
        search_stream(search, stdin, "(standard input)");
    else if (stat(path, &about) != 0)
        complain(search, path, strerror(errno));
    else if (!S_ISDIR(about.st_mode))
        search_file(search, path);
    else if (search->recursive)
        walk(path, found, search);
    else
        complain(search, path, strerror(EISDIR));
}

static int usage(void)
{
    fputs("usage: grep [-cilnrv] PATTERN [FILE...]\n", stderr);
    return TROUBLE;
}

int main(int argc, char **argv)
{
    struct search search = {0};
    int flags = REG_EXTENDED | REG_NOSUB;
    int option;

    while ((option = getopt(argc, argv, "cilnrv")) != -1) {
        switch (option) {
        case 'c': search.count_only = true; break;
        case 'i': flags |= REG_ICASE; break;
        case 'l': search.names_only = true; break;
        case 'n': search.numbers = true; break;
        case 'r': search.recursive = true; break;
        case 'v': search.invert = true; break;
        default: return usage();
        }
    }
    if (optind == argc)
        return usage();

    int wrong = regcomp(&search.pattern, argv[optind], flags);
    if (wrong != 0) {
        char why[100];
        regerror(wrong, &search.pattern, why, sizeof why);
        complain(&search, argv[optind], why);
        return TROUBLE;
    }
    char **files = argv + optind + 1;
    int count = argc - optind - 1;
    search.show_names = search.recursive || count > 1;
    if (count == 0)
        search_path(&search, search.recursive ? "." : "-");
    for (int i = 0; i < count; i++)
        search_path(&search, files[i]);
    regfree(&search.pattern);

    /* Output that was lost is trouble as well. */
    if (fflush(stdout) != 0)
        complain(&search, "standard output", strerror(errno));
    if (search.trouble)
        return TROUBLE;
    return search.selected ? SELECTED : NOTHING_SELECTED;
}

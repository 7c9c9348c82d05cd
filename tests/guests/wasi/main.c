/* Checks a host of WASI preview 1, a topic at a time.
 *
 *     wasi TOPIC [ARGS...]
 *
 * Prints a line for each check, `ok NAME` or `FAIL NAME: ...`, and leaves with the number of
 * those that failed. The topics about files need an empty folder to write to as the first that
 * is granted; what some need to be there already, the tests that run them say.
 */

#include <stdio.h>
#include <string.h>

#include "suite.h"

static const struct {
    const char *name;
    topic *run;
} TOPICS[] = {
    {"opening", opening},         {"reading", reading},   {"folders", folders},
    {"listing", listing},         {"renaming", renaming}, {"links", links},
    {"descriptors", descriptors}, {"closing", closing},   {"preopens", preopens},
    {"readonly", readonly},       {"clocks", clocks},     {"polling", polling},
    {"arguments", arguments},     {"input", input},       {"output", output},
    {"leaving", leaving},         {"nonsense", nonsense}, {"randomness", randomness},
};

int main(int argc, char **argv)
{
    /* Descriptors 0 to 2 are the standard streams; granted folders follow. */
    struct suite suite = {.root = 3, .count = argc - 2, .words = argv + 2};
    for (size_t i = 0; argc > 1 && i < sizeof TOPICS / sizeof TOPICS[0]; i++) {
        if (strcmp(argv[1], TOPICS[i].name) == 0) {
            TOPICS[i].run(&suite);
            return suite.failures;
        }
    }
    fputs("usage: wasi TOPIC [ARGS...]\n", stderr);
    return 120;
}

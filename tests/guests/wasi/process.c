/* Arguments, environment, random numbers, standard streams and leaving. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

/* Prints what the host gave, one in a line, for the test to compare. */
static void show(struct suite *suite, const char *what, size_t count, uint8_t **each,
                 uint8_t *bytes, size_t size)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        is_number(suite, "each begins where the one before ended", (uint64_t)(each[i] - bytes), total);
        printf("%s `%s`\n", what, (char *)each[i]);
        total += strlen((char *)each[i]) + 1;
    }
    is_number(suite, "the size is that of all with their NUL bytes", size, total);
}

void arguments(struct suite *suite)
{
    size_t count = 0, size = 0;
    is_errno(suite, "sizes of the arguments", __wasi_args_sizes_get(&count, &size), 0);
    uint8_t **each = calloc(count + 1, sizeof *each), *bytes = calloc(size + 1, 1);
    is_errno(suite, "the arguments", __wasi_args_get(each, bytes), 0);
    show(suite, "argument", count, each, bytes, size);

    is_errno(suite, "sizes of the environment", __wasi_environ_sizes_get(&count, &size), 0);
    each = calloc(count + 1, sizeof *each), bytes = calloc(size + 1, 1);
    is_errno(suite, "the environment", __wasi_environ_get(each, bytes), 0);
    show(suite, "variable", count, each, bytes, size);
}

/* Fills a buffer, and nothing behind it. Whether all of it is zero is decided by chance where it is
 * short, and by a host that fills nothing where it is long. */
void randomness(struct suite *suite)
{
    static uint8_t numbers[70000], others[70000];
    size_t zeroes = 0;
    is_errno(suite, "no random numbers", __wasi_random_get(numbers, 0), 0);
    is_number(suite, "nothing is filled by none", numbers[0], 0);
    is_errno(suite, "many random numbers", __wasi_random_get(numbers, sizeof numbers - 1), 0);
    is_number(suite, "nothing behind them is filled", numbers[sizeof numbers - 1], 0);
    for (size_t i = 0; i + 1 < sizeof numbers; i++)
        zeroes += numbers[i] == 0;
    is_number(suite, "about one in 256 is zero", zeroes > 100 && zeroes < 600, 1);
    is_errno(suite, "as many again", __wasi_random_get(others, sizeof others - 1), 0);
    is_number(suite, "they are others", memcmp(numbers, others, sizeof numbers) != 0, 1);
}

/* Reads standard input to its end in pieces of the size that the word gives, and says how
 * much it was. */
void input(struct suite *suite)
{
    size_t room = suite->count > 0 ? strtoul(suite->words[0], NULL, 10) : 4096;
    char *text = malloc(room + 1);
    uint64_t size = 0, sum = 0;
    for (;;) {
        __wasi_iovec_t piece = {(uint8_t *)text, room};
        size_t count = 0;
        err error = __wasi_fd_read(0, &piece, 1, &count);
        if (error != 0)
            is_errno(suite, "read standard input", error, 0);
        if (error != 0 || count == 0)
            break;
        size += count;
        for (size_t i = 0; i < count; i++)
            sum = sum * 31 + (uint8_t)text[i];
    }
    is_errno(suite, "read after the end", read_text(0, text, room), 0);
    is_text(suite, "the end stays the end", text, "");
    is_errno(suite, "write to standard input is EBADF", write_text(0, "x"), EBADF);
    printf("%llu bytes, sum %llu\n", (unsigned long long)size, (unsigned long long)sum);
    free(text);
}

/* Writes to both streams in turn, by the calls themselves and so in this order. */
void output(struct suite *suite)
{
    char text[4];
    is_errno(suite, "read standard output is EBADF", read_text(1, text, sizeof text), EBADF);
    is_errno(suite, "read standard error is EBADF", read_text(2, text, sizeof text), EBADF);
    is_errno(suite, "pwrite to standard output is ESPIPE", pwrite_text(1, "x", 0), ESPIPE);
    is_errno(suite, "pread of standard input is ESPIPE", pread_text(0, text, sizeof text, 0), ESPIPE);
    fflush(stdout);
    is_errno(suite, "write to standard output", write_text(1, "out 1\n"), 0);
    is_errno(suite, "write to standard error", write_text(2, "err 1\n"), 0);
    is_errno(suite, "write to standard output", write_text(1, "out 2\n"), 0);
    is_errno(suite, "write to standard error", write_text(2, "err 2\n"), 0);
}

/* Leaves with the code that the word says, without what exit would still do. */
void leaving(struct suite *suite)
{
    __wasi_proc_exit(suite->count > 0 ? (uint32_t)strtoul(suite->words[0], NULL, 10) : 0);
}

/* Calls with a number that stands for nothing, which the word says. */
void nonsense(struct suite *suite)
{
    const char *what = suite->count > 0 ? suite->words[0] : "";
    uint64_t now;
    if (strcmp(what, "clock") == 0)
        is_errno(suite, "a clock that does not exist is EINVAL",
                 __wasi_clock_time_get(77, 0, &now), EINVAL);
    else if (strcmp(what, "whence") == 0)
        is_errno(suite, "a whence that does not exist is EINVAL",
                 __wasi_fd_seek(0, 0, 77, &now), EINVAL);
    else
        is_errno(suite, "advice that does not exist is EINVAL", __wasi_fd_advise(0, 0, 6, 77), EINVAL);
}

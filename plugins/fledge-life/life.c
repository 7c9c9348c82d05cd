/* Conway's life on a torus, drawn in the terminal.
 *
 *     life [GENERATIONS]
 *
 * A plugin for fledge's protocol: it speaks with its host through the four functions below,
 * one JSON object a message. What it needs of JSON is so little that it is written out here.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define FLEDGE(name) __attribute__((import_module("fledge"), import_name(name)))

FLEDGE("send") void fledge_send(const char *message, uint32_t length);
FLEDGE("recv") int32_t fledge_recv(char *buffer, uint32_t room);
FLEDGE("exit") _Noreturn void fledge_exit(int32_t code);

enum { WIDTH = 40, HEIGHT = 20, DEFAULT_GENERATIONS = 20, NO_NUMBER = -1 };

static bool cells[HEIGHT][WIDTH];

/* A message in the making. A cell takes one byte of it, a new line two. */
static char message[WIDTH * HEIGHT + 1024];
static size_t used;

static void put(const char *text)
{
    size_t length = strlen(text);
    memcpy(message + used, text, length);
    used += length;
}

static void put_number(int number)
{
    char digits[12];
    char *at = digits + sizeof digits - 1;
    *at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put(at);
}

static void send(void)
{
    fledge_send(message, (uint32_t)used);
    used = 0;
}

static const char *past_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')
        at++;
    return at;
}

/* Where the value of a key of the outermost object begins, or NULL. Texts are skipped as a
 * whole, so that what looks like the key within one is not taken for it. */
static const char *value_of(const char *json, const char *key)
{
    int depth = 0;
    for (const char *at = json; *at != '\0'; at++) {
        if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        } else if (*at == '"') {
            const char *text = ++at;
            while (*at != '"' && *at != '\0')
                at += *at == '\\' && at[1] != '\0' ? 2 : 1;
            if (*at == '\0')
                break;
            size_t length = (size_t)(at - text);
            const char *next = past_blanks(at + 1);
            if (depth == 1 && *next == ':' && length == strlen(key) && memcmp(text, key, length) == 0)
                return past_blanks(next + 1);
        }
    }
    return NULL;
}

/* How many generations the first argument asks for. */
static int generations(const char *init)
{
    const char *at = value_of(init, "args");
    if (at == NULL || *at != '[')
        return DEFAULT_GENERATIONS;
    at = past_blanks(at + 1);
    if (*at != '"')
        return DEFAULT_GENERATIONS;
    size_t digits = strspn(++at, "0123456789");
    /* More than nine digits may be too many for an int. */
    if (digits == 0 || digits > 9 || at[digits] != '"')
        return NO_NUMBER;
    int number = 0;
    while (*at != '"')
        number = number * 10 + (*at++ - '0');
    return number;
}

static int neighbours(int row, int column)
{
    int count = -cells[row][column];
    for (int y = row + HEIGHT - 1; y <= row + HEIGHT + 1; y++)
        for (int x = column + WIDTH - 1; x <= column + WIDTH + 1; x++)
            count += cells[y % HEIGHT][x % WIDTH];
    return count;
}

static void step(void)
{
    bool next[HEIGHT][WIDTH];
    for (int row = 0; row < HEIGHT; row++)
        for (int column = 0; column < WIDTH; column++) {
            int count = neighbours(row, column);
            next[row][column] = count == 3 || (count == 2 && cells[row][column]);
        }
    memcpy(cells, next, sizeof cells);
}

static void draw(bool clear)
{
    put("{\"type\":\"output\",\"text\":\"");
    if (clear)
        put("\\u001b[2J");
    put("\\u001b[H");
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++)
            put(cells[row][column] ? "#" : ".");
        put("\\n");
    }
    put("\"}");
    send();
}

static int alive(void)
{
    int count = 0;
    for (int row = 0; row < HEIGHT; row++)
        for (int column = 0; column < WIDTH; column++)
            count += cells[row][column];
    return count;
}

int main(void)
{
    /* A longer init ends early, which value_of bears: the arguments are near its beginning. */
    static char init[65536];
    size_t size = 0;
    int32_t got;
    while ((got = fledge_recv(init + size, (uint32_t)(sizeof init - 1 - size))) > 0)
        size += (size_t)got;

    int last = generations(init);
    if (last == NO_NUMBER) {
        put("{\"type\":\"log\",\"level\":\"error\",\"message\":\"usage: life [GENERATIONS]\"}");
        send();
        fledge_exit(2);
    }

    /* An R-pentomino: five cells that take a thousand generations to settle. */
    static const char *const start[] = {" ##", "## ", " # "};
    for (int row = 0; row < 3; row++)
        for (int column = 0; column < 3; column++)
            cells[HEIGHT / 2 - 1 + row][WIDTH / 2 - 1 + column] = start[row][column] == '#';

    for (int generation = 1; generation <= last; generation++) {
        step();
        draw(generation == 1);
        nanosleep(&(struct timespec){.tv_nsec = 120 * 1000 * 1000}, NULL);
    }

    put("{\"type\":\"output\",\"text\":\"generation ");
    put_number(last);
    put(", ");
    put_number(alive());
    put(" alive\\n\"}");
    send();
    fledge_exit(0);
}

#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void text_reserve(struct text *text, size_t more)
{
    size_t needed = text->length + more + 1;
    if (needed <= text->room)
        return;
    /* Twice as much each time, so that many small additions do not copy it all each time. */
    size_t room = needed > 2 * text->room ? needed : 2 * text->room;
    text->bytes = realloc(text->bytes, room);
    if (text->bytes == NULL)
        abort();
    text->room = room;
}

void text_add(struct text *text, const char *bytes, size_t length)
{
    text_reserve(text, length);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void text_add_string(struct text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_add_escaped(struct text *text, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte == '"' || byte == '\\') {
            text_add(text, (char[]){'\\', (char)byte}, 2);
        } else if (byte == '\n') {
            text_add_string(text, "\\n");
        } else if (byte < 0x20) {
            const char *digits = "0123456789abcdef";
            text_add_string(text, "\\u00");
            text_add(text, (char[]){digits[byte >> 4], digits[byte & 15]}, 2);
        } else {
            text_add(text, &bytes[i], 1);
        }
    }
}

static const char *past_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n')
        at++;
    return at;
}

/* The end of the text whose quote is before `at`: its other quote, or the end of all. */
static const char *closing_quote(const char *at)
{
    while (*at != '"' && *at != '\0')
        at += *at == '\\' && at[1] != '\0' ? 2 : 1;
    return at;
}

const char *json_value(const char *json, const char *key)
{
    int depth = 0;
    for (const char *at = json; *at != '\0'; at++) {
        if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        } else if (*at == '"') {
            /* Skipped as a whole, so that what looks like the key within it is not taken for
             * it. */
            const char *text = at + 1;
            at = closing_quote(text);
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

const char *json_first(const char *at)
{
    if (at == NULL || *at != '[')
        return NULL;
    at = past_blanks(at + 1);
    return *at == ']' || *at == '\0' ? NULL : at;
}

const char *json_next(const char *at)
{
    at = past_blanks(at);
    return *at == ',' ? past_blanks(at + 1) : NULL;
}

/* The four digits of a \u escape as a number, or -1. */
static int32_t hex(const char *at)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char digit = at[i];
        if (digit >= '0' && digit <= '9')
            value = value * 16 + (digit - '0');
        else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f')
            value = value * 16 + ((digit | 0x20) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static void add_utf8(struct text *text, int32_t code)
{
    char bytes[4];
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    /* The last bytes carry six bits each, the first one what is left and the length. */
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    const unsigned char heads[] = {0x00, 0xc0, 0xe0, 0xf0};
    bytes[0] = (char)(heads[length - 1] | code);
    text_add(text, bytes, length);
}

/* Reads the escape whose \u is before `at`; NULL where it is none. */
static const char *read_code(const char *at, struct text *text)
{
    int32_t code = hex(at);
    if (code < 0)
        return NULL;
    at += 4;
    if (code >= 0xd800 && code < 0xe000) {
        /* Beyond the first 65536 characters two escapes stand for one. */
        int32_t low = code < 0xdc00 && at[0] == '\\' && at[1] == 'u' ? hex(at + 2) : -1;
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
        } else {
            /* Half of a pair is no character. */
            code = 0xfffd;
        }
    }
    add_utf8(text, code);
    return at;
}

const char *json_text(const char *at, struct text *text)
{
    if (at == NULL || *at++ != '"')
        return NULL;
    for (;;) {
        /* Not strcspn: zig's looks for the end of all first, each time. */
        const char *plain = at;
        while (*at != '"' && *at != '\\' && *at != '\0')
            at++;
        text_add(text, plain, (size_t)(at - plain));
        if (*at == '"')
            return at + 1;
        if (*at == '\0')
            return NULL;
        const char *escapes = "\"\\/bfnrt", *meanings = "\"\\/\b\f\n\r\t";
        const char *escape = strchr(escapes, at[1]);
        if (at[1] == 'u') {
            at = read_code(at + 2, text);
            if (at == NULL)
                return NULL;
        } else if (at[1] != '\0' && escape != NULL) {
            text_add(text, meanings + (escape - escapes), 1);
            at += 2;
        } else {
            return NULL;
        }
    }
}

/* Runs its arguments, joined by blanks, as one command of the host's shell.
 *
 *     exec COMMAND...
 *
 * A plugin for fledge's protocol. What the command wrote comes as output, what it complained
 * about as warnings; the exit code is the command's.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

#define FLEDGE(name) __attribute__((import_module("fledge"), import_name(name)))

FLEDGE("send") void fledge_send(const char *message, uint32_t length);
FLEDGE("recv") int32_t fledge_recv(char *buffer, uint32_t room);
FLEDGE("exec") int32_t fledge_exec(const char *request, uint32_t length);
FLEDGE("exit") _Noreturn void fledge_exit(int32_t code);

/* All that the host has to say now, in pieces of any size. */
static void receive(struct text *text)
{
    int32_t got;
    text->length = 0;
    do {
        text_reserve(text, 4096);
        got = fledge_recv(text->bytes + text->length, (uint32_t)(text->room - text->length - 1));
        text->length += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    text->bytes[text->length] = '\0';
}

static void send(const char *head, const char *bytes, size_t length)
{
    struct text message = {0};
    text_add_string(&message, head);
    text_add_escaped(&message, bytes, length);
    text_add_string(&message, "\"}");
    fledge_send(message.bytes, (uint32_t)message.length);
    free(message.bytes);
}

static _Noreturn void fail(const char *why)
{
    send("{\"type\":\"log\",\"level\":\"error\",\"message\":\"", why, strlen(why));
    fledge_exit(2);
}

/* A message for each line. */
static void warn(const struct text *text)
{
    const char *at = text->bytes, *end = at + text->length;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline != NULL ? newline : end;
        send("{\"type\":\"log\",\"level\":\"warn\",\"message\":\"", at, (size_t)(stop - at));
        at = stop + 1;
    }
}

int main(void)
{
    struct text received = {0}, command = {0}, request = {0}, output = {0}, complaints = {0};

    receive(&received);
    const char *at = json_first(json_value(received.bytes, "args"));
    while (at != NULL) {
        if (command.length > 0)
            text_add_string(&command, " ");
        at = json_text(at, &command);
        if (at == NULL)
            fail("the arguments are no array of texts");
        at = json_next(at);
    }
    if (command.length == 0)
        fail("usage: exec COMMAND...");

    text_add_string(&request, "{\"command\":\"");
    text_add_escaped(&request, command.bytes, command.length);
    text_add_string(&request, "\"}");
    fledge_exec(request.bytes, (uint32_t)request.length);

    receive(&received);
    const char *code = json_value(received.bytes, "code");
    if (code == NULL || json_text(json_value(received.bytes, "stdout"), &output) == NULL ||
        json_text(json_value(received.bytes, "stderr"), &complaints) == NULL)
        fail("the host's answer is no result of a command");
    if (output.length > 0)
        send("{\"type\":\"output\",\"text\":\"", output.bytes, output.length);
    warn(&complaints);
    fledge_exit(atoi(code));
}

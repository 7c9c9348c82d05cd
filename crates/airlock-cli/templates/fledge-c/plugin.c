/* Greets whoever it is told: an ordinary program, which exchanges JSON messages with its host. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cortex-json.h"

#define FLEDGE(name) __attribute__((import_module("fledge"), import_name(name)))

FLEDGE("send") void fledge_send(const char *message, uint32_t length);
FLEDGE("recv") int32_t fledge_recv(char *buffer, uint32_t room);

/* Shows text, as it is. */
static void output(struct json_text text)
{
    struct json_out message = {0};
    json_put(&message, "{\"type\":\"output\",\"text\":");
    json_add_string(&message, text);
    json_put(&message, "}");
    fledge_send(message.bytes, (uint32_t)message.length);
    free(message.bytes);
}

/* Says something beside the output. Levels are `debug`, `info`, `warn` and `error`. */
static void write_log(const char *level, const char *text)
{
    struct json_out message = {0};
    json_put(&message, "{\"type\":\"log\",\"level\":");
    json_add_string(&message, (struct json_text){level, strlen(level)});
    json_put(&message, ",\"message\":");
    json_add_string(&message, (struct json_text){text, strlen(text)});
    json_put(&message, "}");
    fledge_send(message.bytes, (uint32_t)message.length);
    free(message.bytes);
}

/* All that the host has to say now. */
static struct json_out receive(void)
{
    struct json_out received = {0};
    char piece[4096];
    int32_t count;
    while ((count = fledge_recv(piece, sizeof piece)) > 0)
        json_add(&received, piece, (size_t)count);
    return received;
}

/* What the host says first: whether it can be understood, and the first argument, if there is one. */
static bool read_init(const struct json_out *init, struct json_text *name)
{
    struct json json = json_over(init->bytes, init->length);
    struct json_text key, protocol = {0}, more;
    json_enter(&json, '{');
    while (json_key(&json, &key)) {
        if (json_is(key, "protocol")) {
            json_string(&json, &protocol);
        } else if (json_is(key, "args")) {
            json_enter(&json, '[');
            for (bool first = true; json_element(&json); first = false)
                json_string(&json, first ? name : &more);
        } else {
            json_skip(&json);
        }
    }
    return json_end(&json) && protocol.bytes != NULL && json_is(protocol, "fledge-v1");
}

int main(void)
{
    struct json_out init = receive(), greeting = {0};
    struct json_text name = {"you", 3};
    if (!read_init(&init, &name)) {
        write_log("error", "the host speaks another protocol");
        return 2;
    }
    if (name.length == 0) {
        write_log("error", "nobody has an empty name");
        return 1;
    }
    json_put(&greeting, "Hello, ");
    json_add(&greeting, name.bytes, name.length);
    json_put(&greeting, "!\n");
    output((struct json_text){greeting.bytes, greeting.length});
    return 0;
}

/* Tools that use everything of CortexPrism's tool ABI. Built twice: with a memory of its own, and
 * with the host's. */

#include "cortex-json.h"
#include "wasm-plugin.h"

/* What a tool is given, and what it writes to. */
struct call {
    struct json_text args;
    struct json_out answer;
    /* Why it failed; what the answer holds counts for nothing then. */
    struct json_out reason;
};

static bool failed(struct call *call, const char *reason)
{
    call->reason.length = 0;
    json_put(&call->reason, reason);
    return false;
}

/* Finds arguments by their names: the value of each as it is written, or NULL bytes. */
static bool arguments(struct call *call, const char *const names[], struct json_text values[], size_t count)
{
    struct json json = json_over(call->args.bytes, call->args.length);
    struct json_text key, value;
    json_enter(&json, '{');
    while (json_key(&json, &key)) {
        if (!json_raw(&json, &value))
            break;
        for (size_t i = 0; i < count; i++) {
            if (json_is(key, names[i]))
                values[i] = value;
        }
    }
    if (json_end(&json))
        return true;
    failed(call, "the arguments: ");
    json_put(&call->reason, json.problem);
    return false;
}

/* The text that an argument is; as it was where there is no argument. */
static bool text(struct call *call, const char *name, struct json_text value, struct json_text *text)
{
    if (value.bytes == NULL)
        return true;
    struct json json = json_over(value.bytes, value.length);
    if (json_string(&json, text))
        return true;
    failed(call, "`");
    json_put(&call->reason, name);
    json_put(&call->reason, "` is no text");
    return false;
}

/* The one text that a tool needs. */
static bool needed(struct call *call, const char *name, struct json_text *found)
{
    struct json_text value = {0};
    if (!arguments(call, &name, &value, 1))
        return false;
    if (value.bytes != NULL)
        return text(call, name, value, found);
    failed(call, "`");
    json_put(&call->reason, name);
    json_put(&call->reason, "` is missing");
    return false;
}

/* Room for the longest text of the host's. Not static: with a memory of the host's, which need not
 * be all zeros, such room would be in the built file. */
static char *buffer(void)
{
    char *bytes = (char *)malloc(PLUGIN_TEXT);
    if (bytes == NULL)
        abort();
    return bytes;
}

static bool echo(struct call *call)
{
    json_add(&call->answer, call->args.bytes, call->args.length);
    return true;
}

/* Counts its calls in the plugin's state, which is text. */
static bool count(struct call *call)
{
    char before[20];
    uint32_t length = sizeof before;
    uint64_t calls = 0;
    if (host_get_state("count", 5, before, &length) == 0) {
        for (uint32_t i = 0; i < length && before[i] >= '0' && before[i] <= '9'; i++)
            calls = calls * 10 + (uint64_t)(before[i] - '0');
    }
    struct json_out after = {0};
    json_add_number(&after, calls + 1);
    host_set_state("count", 5, after.bytes, after.length);
    json_put(&call->answer, "{\"count\":");
    json_add(&call->answer, after.bytes, after.length);
    json_put(&call->answer, "}");
    free(after.bytes);
    return true;
}

static bool fetch(struct call *call)
{
    static const char *const NAMES[] = {"method", "url", "body", "headers"};
    struct json_text values[4] = {0}, method = {"GET", 3}, url = {0}, sent = {"", 0}, headers = {"", 0};
    if (!arguments(call, NAMES, values, 4) || !text(call, "method", values[0], &method) ||
        !text(call, "url", values[1], &url) || !text(call, "body", values[2], &sent))
        return false;
    if (url.bytes == NULL)
        return failed(call, "`url` is missing");
    if (values[3].bytes != NULL)
        headers = values[3];
    int32_t status = 0;
    uint32_t length = PLUGIN_TEXT;
    char *body = buffer();
    int32_t unanswered = host_http_request(method.bytes, method.length, url.bytes, url.length, sent.bytes, sent.length,
                                           headers.bytes, headers.length, &status, body, &length);
    if (unanswered != 0) {
        failed(call, "");
        json_add(&call->reason, body, length);
        json_put(&call->reason, " (status ");
        json_add_number(&call->reason, (uint64_t)(uint32_t)status);
        json_put(&call->reason, ")");
        free(body);
        return false;
    }
    json_put(&call->answer, "{\"status\":");
    json_add_number(&call->answer, (uint64_t)(uint32_t)status);
    json_put(&call->answer, ",\"body\":");
    json_add_string(&call->answer, (struct json_text){body, length});
    json_put(&call->answer, "}");
    free(body);
    return true;
}

static bool config(struct call *call)
{
    struct json_text key = {0};
    if (!needed(call, "key", &key))
        return false;
    char *value = buffer();
    uint32_t length = PLUGIN_TEXT;
    json_put(&call->answer, "{\"value\":");
    if (host_get_config(key.bytes, key.length, value, &length) == 0)
        json_add_string(&call->answer, (struct json_text){value, length});
    else
        json_put(&call->answer, "null");
    json_put(&call->answer, "}");
    free(value);
    return true;
}

static bool now(struct call *call)
{
    json_put(&call->answer, "{\"ms\":");
    json_add_number(&call->answer, (uint64_t)host_get_time_ms());
    json_put(&call->answer, "}");
    return true;
}

/* Fails, with the message that it is given. */
static bool fail(struct call *call)
{
    struct json_text message = {0};
    if (!needed(call, "message", &message))
        return false;
    failed(call, "");
    json_add(&call->reason, message.bytes, message.length);
    return false;
}

static bool log(struct call *call)
{
    struct json_text message = {0};
    if (!needed(call, "message", &message))
        return false;
    host_log(message.bytes, message.length);
    json_put(&call->answer, "{\"logged\":true}");
    return true;
}

static const char CAPABILITIES[] =
    "{\"abi_version\":1,\"tools\":["
    "{\"name\":\"echo\",\"description\":\"Gives its arguments back\",\"params\":["
    "{\"name\":\"value\",\"type\":\"object\",\"description\":\"Anything\",\"required\":false}]},"
    "{\"name\":\"count\",\"description\":\"Counts its calls\",\"params\":[]},"
    "{\"name\":\"fetch\",\"description\":\"Makes an HTTP request\",\"params\":["
    "{\"name\":\"url\",\"type\":\"string\",\"description\":\"Where to\",\"required\":true},"
    "{\"name\":\"method\",\"type\":\"string\",\"description\":\"GET where nothing is said\",\"required\":false},"
    "{\"name\":\"body\",\"type\":\"string\",\"description\":\"What is sent\",\"required\":false},"
    "{\"name\":\"headers\",\"type\":\"object\",\"description\":\"Texts by their names\",\"required\":false}]},"
    "{\"name\":\"config\",\"description\":\"Reads a setting\",\"params\":["
    "{\"name\":\"key\",\"type\":\"string\",\"description\":\"Its name\",\"required\":true}]},"
    "{\"name\":\"now\",\"description\":\"Tells the time\",\"params\":[]},"
    "{\"name\":\"fail\",\"description\":\"Fails\",\"params\":["
    "{\"name\":\"message\",\"type\":\"string\",\"description\":\"With what\",\"required\":true}]},"
    "{\"name\":\"log\",\"description\":\"Writes to the log\",\"params\":["
    "{\"name\":\"message\",\"type\":\"string\",\"description\":\"What\",\"required\":true}]}"
    "]}";

static const struct {
    const char *name;
    bool (*run)(struct call *);
} TOOLS[] = {
    {"echo", echo}, {"count", count}, {"fetch", fetch}, {"config", config},
    {"now", now},   {"fail", fail},   {"log", log},
};

int32_t plugin_get_abi_version(void)
{
    return PLUGIN_ABI_VERSION;
}

void plugin_init(void)
{
    plugin_log("tools: ready");
}

void plugin_destroy(void)
{
    plugin_log("tools: done");
}

int32_t plugin_get_capabilities(char *out, uint32_t *out_length)
{
    return plugin_give(CAPABILITIES, sizeof CAPABILITIES - 1, out, out_length);
}

int32_t plugin_execute_tool(const char *name, size_t name_length, const char *args, size_t args_length, char *out,
                            uint32_t *out_length)
{
    struct call call = {.args = {args, args_length}};
    bool fine = false, known = false;
    for (size_t i = 0; i < sizeof TOOLS / sizeof *TOOLS && !known; i++) {
        known = json_is((struct json_text){name, name_length}, TOOLS[i].name);
        fine = known && TOOLS[i].run(&call);
    }
    if (!known) {
        failed(&call, "there is no tool `");
        json_add(&call.reason, name, name_length);
        json_put(&call.reason, "`");
    }
    int32_t result = fine ? plugin_give(call.answer.bytes, call.answer.length, out, out_length)
                          : plugin_fail(call.reason.bytes, call.reason.length, out, out_length);
    free(call.answer.bytes);
    free(call.reason.bytes);
    return result;
}

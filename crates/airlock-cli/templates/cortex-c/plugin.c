/* A plugin of CortexPrism's tool ABI with one tool: `greet`. */

#include <stdlib.h>

#include "cortex-json.h"
#include "wasm-plugin.h"

static const char CAPABILITIES[] =
    "{\"abi_version\":1,\"tools\":[{\"name\":\"greet\",\"description\":\"Greets somebody\",\"params\":["
    "{\"name\":\"name\",\"type\":\"string\",\"description\":\"Who is greeted\",\"required\":true}]}]}";

int32_t plugin_get_abi_version(void)
{
    return PLUGIN_ABI_VERSION;
}

void plugin_init(void)
{
}

void plugin_destroy(void)
{
}

int32_t plugin_get_capabilities(char *out, uint32_t *out_length)
{
    return plugin_give(CAPABILITIES, sizeof CAPABILITIES - 1, out, out_length);
}

/* What the tool is called with; gives why that does not do, or NULL. */
static const char *read_person(const char *args, size_t length, struct json_text *name)
{
    struct json json = json_over(args, length);
    struct json_text key;
    json_enter(&json, '{');
    while (json_key(&json, &key)) {
        if (json_is(key, "name"))
            json_string(&json, name);
        else
            json_skip(&json);
    }
    if (!json_end(&json))
        return json.problem;
    if (name->bytes == NULL)
        return "`name` is missing";
    return name->length == 0 ? "`name` is empty" : NULL;
}

static int32_t greet(struct json_text name, char *out, uint32_t *out_length)
{
    struct json_out greeting = {0}, answer = {0};
    json_put(&greeting, "Hello, ");
    json_add(&greeting, name.bytes, name.length);
    json_put(&greeting, "!");
    json_put(&answer, "{\"greeting\":");
    json_add_string(&answer, (struct json_text){greeting.bytes, greeting.length});
    json_put(&answer, "}");
    int32_t failed = plugin_give(answer.bytes, answer.length, out, out_length);
    free(greeting.bytes);
    free(answer.bytes);
    return failed;
}

int32_t plugin_execute_tool(const char *name, size_t name_length, const char *args, size_t args_length, char *out,
                            uint32_t *out_length)
{
    struct json_text who = {0};
    const char *problem = "there is no such tool";
    if (json_is((struct json_text){name, name_length}, "greet"))
        problem = read_person(args, args_length, &who);
    if (problem != NULL)
        return plugin_fail(problem, strlen(problem), out, out_length);
    return greet(who, out, out_length);
}

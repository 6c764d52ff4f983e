/* Messages between the roles: whatever is read is written in a form that reads back as the same. */
#include "api/messages.h"

#include "base/mem.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The message as text; NULL when it was refused. Which one it is, says the first byte. */
static char *through(char which, const json_t *doc)
{
    struct err err = {0};
    struct api_tasks tasks = {0};
    struct api_report report = {0};
    struct api_routes routes = {0};
    struct api_log log = {0};
    json_t *out = NULL;
    int rc;
    if (which == 't' && !(rc = api_tasks_from_json(&tasks, doc, &err)))
        out = api_tasks_to_json(&tasks);
    else if (which == 'm' && !(rc = api_report_from_json(&report, doc, &err)))
        out = api_report_to_json(&report);
    else if (which == 'r' && !(rc = api_routes_from_json(&routes, doc, &err)))
        out = api_routes_to_json(&routes);
    else if (which == 'l' && !(rc = api_log_from_json(&log, doc, &err)))
        out = api_log_to_json(&log);
    else
        assert(!strchr("tmrl", which) || err.msg[0]);
    assert(out || (!tasks.items && !report.measured && !routes.models && !log.lines));
    api_tasks_done(&tasks);
    api_report_done(&report);
    api_routes_done(&routes);
    api_log_done(&log);
    char *text = out ? json_text(out) : NULL;
    json_decref(out);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || !data[0])
        return 0;
    json_auto_t *doc = json_parse((const char *)data + 1, size - 1, NULL);
    if (!doc)
        return 0;
    mem_auto char *first = through((char)data[0], doc);
    if (!first)
        return 0;
    json_auto_t *again = json_parse(first, strlen(first), NULL);
    assert(again);
    mem_auto char *second = through((char)data[0], again);
    assert(second && strcmp(first, second) == 0);
    return 0;
}

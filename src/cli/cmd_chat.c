/* `stowage chat`: one question, or a conversation, through the gateway. */
#include "cli/cli.h"
#include "cli/common.h"

#include "base/mem.h"
#include "client/client.h"
#include "net/sse.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_REPLY = 64 << 20, MIN_TOKENS = 4 };

struct turn {
    struct sse_parser sse;
    struct buf reply;
    bool show; /* print as it comes */
    int64_t began_ms, first_ms, last_ms;
    uint64_t tokens; /* as the engine counted; else pieces seen */
    uint64_t pieces;
    double tok_s;
    json_t *timings, *usage;
    bool done;
    struct err err;
};

static void on_delta(struct turn *t, const json_t *delta)
{
    const char *text = json_string_value(json_object_get(delta, "content"));
    const char *thought = json_string_value(json_object_get(delta, "reasoning_content"));
    if ((!text || !*text) && (!thought || !*thought))
        return;
    t->last_ms = os_now_ms();
    if (!t->first_ms)
        t->first_ms = t->last_ms;
    t->pieces++;
    if (thought && t->show)
        fputs(thought, stderr);
    if (!text)
        return;
    buf_adds(&t->reply, text);
    if (t->show) {
        fputs(text, stdout);
        fflush(stdout);
    }
}

static void keep(json_t **slot, json_t *value)
{
    if (!json_is_object(value))
        return;
    json_decref(*slot);
    *slot = json_incref(value);
}

static void on_event(void *arg, const struct sse_event *e)
{
    struct turn *t = arg;
    if (str_eq(e->data, STR("[DONE]"))) {
        t->done = true;
        return;
    }
    json_auto_t *doc = json_parse(e->data.p, e->data.n, NULL);
    json_t *error = json_object_get(doc, "error");
    if (error) {
        err_fill(&t->err, ERR_UNAVAILABLE, "%s", cli_str(error, "message"));
        return;
    }
    json_t *choice = json_array_get(json_object_get(doc, "choices"), 0);
    on_delta(t, json_object_get(choice, "delta"));
    keep(&t->timings, json_object_get(doc, "timings"));
    keep(&t->usage, json_object_get(doc, "usage"));
}

static bool on_bytes(void *arg, const char *p, size_t n)
{
    struct turn *t = arg;
    return sse_feed(&t->sse, p, n, on_event, t) == 0 && !t->err.code && !ferror(stdout);
}

static void turn_done(struct turn *t)
{
    sse_done(&t->sse);
    buf_done(&t->reply);
    json_decref(t->timings);
    json_decref(t->usage);
}

static double first_s(const struct turn *t)
{
    return t->first_ms ? (double)(t->first_ms - t->began_ms) / 1000 : 0;
}

/* The engine's own figures where it sends them; else what was seen from here. */
static void measure(struct turn *t)
{
    uint64_t counted = cli_u64(t->usage, "completion_tokens");
    t->tokens = counted ? counted : t->pieces;
    /* Over a handful of tokens the engine's clock says nothing. */
    t->tok_s = t->tokens >= MIN_TOKENS ? cli_num(t->timings, "predicted_per_second") : 0;
    int64_t span = t->last_ms - t->first_ms;
    if (t->tok_s <= 0 && t->pieces > 1 && span > 0)
        t->tok_s = (double)(t->pieces - 1) * 1000 / (double)span;
}

/* Asks with the whole conversation; the reply is in t->reply. */
static int ask(const struct cli *c, const char *model, json_t *messages, uint64_t max_tokens,
               struct turn *t, struct err *err)
{
    json_auto_t *body = json_object();
    json_put_str(body, "model", model);
    json_object_set(body, "messages", messages);
    json_put_bool(body, "stream", true);
    json_put_bool(json_put_object(body, "stream_options"), "include_usage", true);
    if (max_tokens)
        json_put_u64(body, "max_tokens", max_tokens);
    struct client *client = cli_connect(c, err);
    if (!client)
        return -1;
    sse_init(&t->sse);
    buf_init(&t->reply, MAX_REPLY);
    t->began_ms = os_now_ms();
    int rc = client_stream(client, "POST", "/v1/chat/completions", body, on_bytes, t, err);
    client_free(client);
    if (rc == 0 && t->err.code) {
        *err = t->err;
        rc = -1;
    }
    if (rc == 0 && !t->done)
        rc = err_set(err, ERR_UNAVAILABLE, "the answer ended before its end");
    measure(t);
    return rc;
}

static void add_message(json_t *messages, const char *role, const char *text)
{
    json_t *m = json_add_object(messages);
    json_put_str(m, "role", role);
    json_put_str(m, "content", text ? text : "");
}

/* The reply is on stdout, what follows it on stderr: the line ends before. */
static void end_line(const struct turn *t)
{
    if (!t->show || !t->reply.n)
        return;
    putchar('\n');
    fflush(stdout);
}

static void print_stats(const struct turn *t)
{
    char speed[32] = "-";
    if (t->tok_s > 0)
        str_copyf(speed, sizeof speed, "%.1f", t->tok_s);
    fprintf(stderr, "%s tok/s · %.2f s to first · %llu tokens\n", speed, first_s(t),
            (unsigned long long)t->tokens);
}

static int one_question(const struct cli *c, const char *prompt, const char *system_text,
                        uint64_t max)
{
    struct err err = {0};
    struct turn t = {.show = !c->json};
    json_auto_t *messages = json_array();
    if (system_text)
        add_message(messages, "system", system_text);
    add_message(messages, "user", prompt);
    int rc = ask(c, c->operands[0], messages, max, &t, &err);
    end_line(&t);
    if (rc) {
        rc = cli_fail(c, &err, NULL);
    } else if (c->json) {
        json_t *doc = json_object();
        json_put_str(doc, "model", c->operands[0]);
        json_put_str(doc, "content", t.reply.p ? t.reply.p : "");
        json_put_u64(doc, "tokens", t.tokens);
        json_put_double(doc, "tok_s", t.tok_s);
        json_put_double(doc, "first_token_s", first_s(&t));
        cli_json(doc);
    } else {
        print_stats(&t);
    }
    turn_done(&t);
    return rc;
}

static int conversation(const struct cli *c, const char *system_text, uint64_t max)
{
    bool tty = isatty(STDIN_FILENO);
    json_auto_t *messages = json_array();
    char *line = NULL;
    size_t cap = 0;
    int rc = 0;
    if (system_text)
        add_message(messages, "system", system_text);
    if (tty)
        fputs("Ask away; an empty line or Ctrl-D ends.\n", stderr);
    for (;;) {
        struct err err = {0};
        struct turn t = {.show = true};
        if (tty)
            fputs("> ", stderr);
        ssize_t n = getline(&line, &cap, stdin);
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = 0;
        if (n <= 0)
            break;
        add_message(messages, "user", line);
        int failed = ask(c, c->operands[0], messages, max, &t, &err);
        end_line(&t);
        if (failed) {
            rc = cli_fail(c, &err, NULL);
            json_array_remove(messages, json_array_size(messages) - 1);
        } else {
            add_message(messages, "assistant", t.reply.p);
            print_stats(&t);
        }
        turn_done(&t);
        if (failed && !tty)
            break;
    }
    free(line);
    return rc;
}

int cmd_chat(int argc, char **argv)
{
    const char *system_text = NULL;
    uint64_t max_tokens = 0;
    const struct opt opts[] = {
        {"system", 0, OPT_STR, &system_text, "TEXT", "system prompt"},
        {"max-tokens", 0, OPT_U64, &max_tokens, "N", "at most N tokens per answer", 1, 1 << 24},
    };
    struct cli c = {.usage = "MODEL [PROMPT]",
                    .opts = opts,
                    .n_opts = ARRAY_LEN(opts),
                    .about = "Asks MODEL; without PROMPT, lines of the input are the questions.",
                    .min_operands = 1,
                    .max_operands = 2,
                    .connects = true};
    int status;
    struct err err = {0};
    if (!cli_start(&c, argc, argv, &status))
        return status;
    if (c.n_operands == 2)
        return one_question(&c, c.operands[1], system_text, max_tokens);
    if (c.json)
        return err_fill(&err, ERR_USAGE, "--json answers one PROMPT, so one is needed"),
               cli_fail(&c, &err, NULL);
    return conversation(&c, system_text, max_tokens);
}

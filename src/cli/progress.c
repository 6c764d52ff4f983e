/* Phases of a deployment: one live region on a terminal, one line per phase elsewhere. */
#include "cli/progress.h"

#include "base/mem.h"
#include "base/num.h"
#include "cli/plan_text.h"
#include "cli/replica_text.h"
#include "client/client.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 200, AWAY_MS = 10000, MAX_SEEN = 64, LINE = 160 };

/* What was said last about a replica, so that it is said once. */
struct seen {
    char state[16];
    uint64_t tens; /* percent of the phase, in tens */
    int64_t since_ms;
};
struct watch {
    struct progress *p;
    struct client *client;
    struct seen seen[MAX_SEEN];
    bool live;    /* stderr is a terminal that understands cursor movement */
    size_t drawn; /* lines of the live region */
    int64_t began_ms, heard_ms;
};

static uint64_t percent_of(const json_t *replica)
{
    const json_t *m;
    size_t i;
    uint64_t best = 0;
    json_array_foreach(json_object_get(replica, "members"), i,
                       m) if (strcmp(cli_str(m, "state"), "loading") == 0 ||
                              strcmp(cli_str(m, "state"), "fetching") == 0) best =
        cli_u64(m, "percent");
    return best;
}

/* "  312 MB/s  39s left" from the bytes of the model and the percents done since the phase began.
 */
static void rate_text(const json_t *d, uint64_t percent, int64_t phase_ms, char *dst, size_t cap)
{
    double bytes = cli_num(json_object_get(d, "model"), "bytes");
    char left[24];
    dst[0] = 0;
    if (bytes <= 0 || percent < 2 || phase_ms < 500)
        return;
    double done = bytes * (double)percent / 100, per_s = done / ((double)phase_ms / 1000);
    str_copyf(dst, cap, "  %.0f MB/s  %s left", per_s / 1e6,
              num_fmt_duration(left, sizeof left, (bytes - done) / per_s));
}

static void ready_text(const json_t *r, char *dst, size_t cap)
{
    const json_t *a = json_object_get(r, "assignment");
    double first = cli_num(r, "first_token_ms"), speed = cli_num(r, "tok_s");
    char devices[128];
    replica_devices(r, devices, sizeof devices);
    size_t n = 0;
    str_copyf(dst, cap, "on %s", devices);
    n = strlen(dst);
    if (first > 0)
        str_copyf(dst + n, cap - n, ", first token in %.2f s", first / 1000);
    n = strlen(dst);
    if (speed > 0)
        str_copyf(dst + n, cap - n, ", %.1f tok/s", speed);
    n = strlen(dst);
    if (speed > 0 && cli_num(a, "tok_s") > 0)
        str_copyf(dst + n, cap - n, " (estimate %.1f)", cli_num(a, "tok_s"));
}

static void line_of(struct watch *w, const json_t *d, const json_t *r, const struct seen *s,
                    char *dst, size_t cap)
{
    const char *state = cli_str(r, "state");
    char detail[256], rate[64] = "";
    replica_detail(r, detail, sizeof detail);
    if (strcmp(state, "ready") == 0)
        ready_text(r, detail, sizeof detail);
    else
        rate_text(d, percent_of(r), os_now_ms() - s->since_ms, rate, sizeof rate);
    str_copyf(dst, cap, "%s/%llu  %-8s  %s%s", w->p->name, (unsigned long long)cli_u64(r, "index"),
              state, detail, rate);
}

/* Terminal columns, so that the region never wraps and can be drawn over. */
static void draw(struct watch *w, char lines[][LINE], size_t n)
{
    if (w->drawn)
        fprintf(stderr, "\x1b[%zuA", w->drawn);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "\r%.79s\x1b[K\n", lines[i]);
    if (w->drawn > n)
        fputs("\x1b[J", stderr);
    w->drawn = n;
    fflush(stderr);
}

static void show(struct watch *w, const json_t *d)
{
    char lines[MAX_SEEN][LINE];
    size_t i, n = 0;
    const json_t *r;
    if (w->p->quiet)
        return;
    json_array_foreach(json_object_get(d, "replicas"), i, r)
    {
        if (n == MAX_SEEN)
            break;
        struct seen *s = &w->seen[n];
        const char *state = cli_str(r, "state");
        uint64_t tens = percent_of(r) / 10;
        bool new_state = strcmp(s->state, state) != 0;
        if (new_state) {
            STR_COPY(s->state, state);
            s->since_ms = os_now_ms();
        }
        line_of(w, d, r, s, lines[n], LINE);
        if (!w->live && (new_state || tens != s->tens))
            fprintf(stderr, "%s\n", lines[n]);
        s->tens = tens;
        n++;
    }
    if (w->live)
        draw(w, lines, n);
}

int progress_refused(const struct cli *c, const char *name, const json_t *plan, const char *hint)
{
    struct err err = {0};
    buf_auto struct buf summary;
    buf_init(&summary, sizeof err.msg);
    words_render(json_object_get(plan, "summary"), WORDS_EN, &summary);
    err_fill(&err, ERR_NO_PLACEMENT, "%s", summary.n ? summary.p : "no placement");
    if (c->json) {
        json_t *doc = json_object(), *e = json_put_object(doc, "error");
        json_put_str(e, "code", err_info(ERR_NO_PLACEMENT)->name);
        json_put_str(e, "message", err.msg);
        json_put_str(e, "hint", hint);
        json_t *params = json_put_object(e, "params");
        json_put_str(params, "name", name);
        json_object_set(params, "plan", (json_t *)plan);
        cli_json(doc);
    } else {
        buf_auto struct buf text;
        buf_init(&text, 1 << 20);
        plan_text(plan, &(struct plan_text_opts){.lang = c->lang}, &text);
        if (text.n)
            fwrite(text.p, 1, text.n, stderr);
        else
            fprintf(stderr, "stowage: %s\n", err.msg);
        if (hint && *hint)
            fprintf(stderr, "hint: %s\n", hint);
    }
    return err_info(ERR_NO_PLACEMENT)->exit;
}

/* A replica that waits for room: its stored reasons, in full. */
static int refused(struct watch *w)
{
    char segment[256];
    json_auto_t *doc = NULL;
    const json_t *r;
    size_t i;
    if (cli_segment(segment, sizeof segment, w->p->name)) {
        mem_auto char *path = mem_printf("/api/v1/explain/%s", segment);
        client_do(w->client, "GET", path, NULL, &doc, NULL, NULL);
    }
    mem_auto char *hint =
        mem_printf("it stays pending and starts when there is room; stowage rm %s "
                   "removes it",
                   w->p->name);
    json_array_foreach(
        json_object_get(doc, "replicas"), i,
        r) if (strcmp(cli_str(r, "state"), "pending") == 0 &&
               json_object_get(r, "plan")) return progress_refused(w->p->cli, w->p->name,
                                                                   json_object_get(r, "plan"),
                                                                   hint);
    json_auto_t *empty = json_object();
    return progress_refused(w->p->cli, w->p->name, empty, hint);
}

enum verdict { GO_ON, REACHED, ENDED };

static enum verdict judge(struct watch *w, const json_t *d, int *status)
{
    const json_t *r;
    size_t i;
    uint64_t ready = 0, wanted = cli_u64(json_object_get(d, "spec"), "replicas");
    json_array_foreach(json_object_get(d, "replicas"), i, r)
    {
        const char *state = cli_str(r, "state");
        const json_t *reason = json_object_get(r, "reason");
        ready += strcmp(state, "ready") == 0;
        if (w->p->keep_trying || w->p->goal != PROGRESS_READY)
            continue;
        if (strcmp(state, "pending") == 0 && strcmp(cli_str(reason, "code"), "NO_PLACEMENT") == 0)
            return *status = refused(w), ENDED;
        if (strcmp(state, "failed") == 0 || strcmp(state, "lost") == 0) {
            struct err err = {0};
            enum err_code code = err_by_name(cli_str(reason, "code"));
            err_fill(&err, code == ERR_INTERNAL ? ERR_UNAVAILABLE : code, "%s/%llu %s: %s",
                     w->p->name, (unsigned long long)cli_u64(r, "index"), state,
                     cli_str(reason, "message"));
            mem_auto char *hint = mem_printf("it will be tried again; stowage logs %s", w->p->name);
            return *status = cli_fail(w->p->cli, &err, hint), ENDED;
        }
    }
    if (w->p->goal != PROGRESS_READY)
        return GO_ON;
    if (wanted == 0) {
        struct err err = {0};
        err_fill(&err, ERR_CONFLICT, "%s is scaled to zero, it will not become ready", w->p->name);
        mem_auto char *hint = mem_printf("stowage scale %s 1", w->p->name);
        return *status = cli_fail(w->p->cli, &err, hint), ENDED;
    }
    return ready >= wanted ? REACHED : GO_ON;
}

static enum verdict look(struct watch *w, const char *path, int *status)
{
    struct err err = {0};
    char hint[240];
    json_auto_t *d = NULL;
    if (client_do(w->client, "GET", path, NULL, &d, hint, &err) == 0) {
        w->heard_ms = os_now_ms();
        show(w, d);
        enum verdict v = judge(w, d, status);
        json_decref(w->p->last);
        w->p->last = STEAL(d);
        return v;
    }
    if (err.code == ERR_NOT_FOUND && w->p->goal == PROGRESS_GONE)
        return REACHED;
    /* A server that restarts meanwhile is waited for. */
    bool away = err.code == ERR_UNREACHABLE || err.code == ERR_TIMEOUT;
    if (away && os_now_ms() - w->heard_ms < AWAY_MS)
        return GO_ON;
    *status = cli_fail(w->p->cli, &err, hint);
    return ENDED;
}

static enum verdict wait_loop(struct watch *w, int *status)
{
    char segment[256];
    struct err err = {0};
    if (!cli_segment(segment, sizeof segment, w->p->name)) {
        err_fill(&err, ERR_INVALID, "'%.80s' is no name of a model", w->p->name);
        *status = cli_fail(w->p->cli, &err, NULL);
        return ENDED;
    }
    mem_auto char *path = mem_printf("/api/v1/deployments/%s", segment);
    for (;;) {
        enum verdict v = look(w, path, status);
        if (v != GO_ON)
            return v;
        double waited = (double)(os_now_ms() - w->began_ms) / 1000;
        if (waited > w->p->timeout_s) {
            char age[24];
            err_fill(&err, ERR_TIMEOUT, "%s is not %s after %s", w->p->name,
                     w->p->goal == PROGRESS_GONE ? "gone" : "ready",
                     num_fmt_duration(age, sizeof age, waited));
            *status = cli_fail(w->p->cli, &err, "stowage ps");
            return ENDED;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

int progress_wait(struct progress *p, int *status)
{
    struct err err = {0};
    const char *term = getenv("TERM");
    struct watch *w = mem_calloc(1, sizeof *w);
    w->p = p;
    w->live = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 && !p->cli->json;
    w->began_ms = w->heard_ms = os_now_ms();
    w->client = cli_connect(p->cli, &err);
    enum verdict v = ENDED;
    if (w->client)
        v = wait_loop(w, status);
    else
        *status = cli_fail(p->cli, &err, NULL);
    client_free(w->client);
    free(w);
    return v == REACHED ? 0 : -1;
}

/* Nodes: joining, heartbeats, silence.
 *
 * Identity (id, name, drained, last known facts) is stored; readings and heartbeats live in memory.
 * Silence is measured by this loop's monotonic clock and only while the loop itself was running.
 * Brake: when more than 30 % of the nodes (and at least three) fell silent, the fault is likelier
 * ours or the network's than theirs; nobody is declared lost until enough of them are heard again.
 */
#include "server/internal.h"

#include "base/mem.h"
#include "os/file.h"
#include "server/auth.h"

#include <string.h>

enum {
    BRAKE_MIN = 3,
    BRAKE_PERCENT = 30,
    BRAKE_WINDOW_MS = 60000,
    LAG_MS = 1000,          /* a tick later than this counts as our own pause */
    SAVE_GROWTH = 16 << 20, /* memory that must come free before refused replicas are tried again */
};

enum node_state node_state_of(const struct node *n)
{
    return n->lost ? NODE_LOST : n->drained ? NODE_DRAINED : NODE_READY;
}

static bool name_ok(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') &&
            !strchr("._-", *p))
            return false;
    return name[0] && name[0] != '-' && name[0] != '.';
}

/* A worker that listens on every address is reached where it called from. */
static void complete_addr(struct cluster_node *n, const char *peer)
{
    const char *colon = strrchr(n->addr, ':');
    const char *peer_colon = strrchr(peer, ':');
    if (!colon || !peer_colon)
        return;
    size_t host = (size_t)(colon - n->addr);
    bool any = host == 0 || (host == 7 && memcmp(n->addr, "0.0.0.0", 7) == 0) ||
               (host == 4 && memcmp(n->addr, "[::]", 4) == 0);
    if (!any)
        return;
    char full[CLUSTER_ADDR];
    if (str_copyf(full, sizeof full, "%.*s%s", (int)(peer_colon - peer), peer, colon))
        STR_COPY(n->addr, full);
}

static int read_node(struct cluster_node *info, const json_t *doc, struct err *err)
{
    if (node_from_json(info, doc, err))
        return -1;
    if (name_ok(info->name))
        return 0;
    node_done(info);
    return err_set(err, ERR_INVALID, "node name '%.63s' must be letters, digits, '.', '_' or '-'",
                   info->name);
}

/* A name whose holder is lost passes to whoever holds a join token: a machine set up anew. */
static int take_name(struct server *s, const char *name, struct err *err)
{
    struct node *old = state_node_by_name(s, name);
    if (!old)
        return 0;
    if (!old->lost)
        return err_set(err, ERR_CONFLICT,
                       "a node named '%s' is alive; give this one another name, or wait %d s after "
                       "the other ended",
                       name, (int)(s->lost_after_ms / 1000));
    return node_forget(s, old, err);
}

int node_join(struct server *s, const json_t *doc, const char *peer, struct node **out,
              struct ops *ops, struct err *err)
{
    char random[9];
    struct cluster_node info = {0};
    if (read_node(&info, doc, err))
        return -1;
    if (map_count(s->nodes) >= CLUSTER_MAX_NODES) {
        node_done(&info);
        return err_set(err, ERR_LIMIT, "%d nodes are the most one cluster has", CLUSTER_MAX_NODES);
    }
    if (take_name(s, info.name, err)) {
        node_done(&info);
        return -1;
    }
    struct node *n = mem_calloc(1, sizeof *n);
    n->info = info;
    complete_addr(&n->info, peer);
    os_random_hex(random, 4);
    str_copyf(n->info.id, sizeof n->info.id, "n-%s", random);
    n->joined_at = os_wall_ms();
    n->reported = true;
    n->seen_ms = loop_now_ms(s->loop);
    ops_put_spec(ops, "node", n->info.id, node_spec_doc(n), 0);
    *out = n;
    return 0;
}

/* Whether anything differs that is worth a write: not readings. */
static bool facts_differ(const struct cluster_node *a, const struct cluster_node *b)
{
    if (strcmp(a->addr, b->addr) != 0 || strcmp(a->version, b->version) != 0 ||
        strcmp(a->engine, b->engine) != 0 || a->ram_bytes != b->ram_bytes ||
        a->n_cpus != b->n_cpus || a->n_devices != b->n_devices || a->n_labels != b->n_labels)
        return true;
    for (uint32_t i = 0; i < a->n_labels; i++)
        if (strcmp(a->labels[i], b->labels[i]) != 0)
            return true;
    for (uint32_t i = 0; i < a->n_devices; i++)
        if (strcmp(a->devices[i].uuid, b->devices[i].uuid) != 0 ||
            a->devices[i].index != b->devices[i].index ||
            a->devices[i].total_bytes != b->devices[i].total_bytes)
            return true;
    return false;
}

static bool memory_grew(const struct cluster_node *was, const struct cluster_node *is)
{
    if (is->ram_free_bytes > was->ram_free_bytes + SAVE_GROWTH)
        return true;
    for (uint32_t i = 0; i < is->n_devices && i < was->n_devices; i++)
        if (is->devices[i].free_bytes > was->devices[i].free_bytes + SAVE_GROWTH)
            return true;
    return false;
}

static int save(struct server *s, struct node *n, struct err *err)
{
    struct ops o = {0};
    ops_put_spec(&o, "node", n->info.id, node_spec_doc(n), -1);
    return ops_commit(s, &o, &n->revision, err);
}

int node_inventory(struct server *s, struct node *n, const json_t *doc, const char *peer,
                   struct err *err)
{
    struct cluster_node info = {0};
    if (read_node(&info, doc, err))
        return -1;
    complete_addr(&info, peer);
    STR_COPY(info.id, n->info.id);
    STR_COPY(info.name, n->info.name); /* set at join; a later change is not taken over */
    bool back = n->lost || !n->reported;
    bool differ = facts_differ(&n->info, &info);
    bool grew = memory_grew(&n->info, &info);
    struct cluster_node old = n->info;
    n->info = info;
    n->seen_ms = loop_now_ms(s->loop);
    n->lost = false;
    n->reported = true;
    if (differ) {
        struct err e = {0};
        if (save(s, n, &e)) /* memory is right; the next difference writes again */
            log_line(LOG_ERROR, "node_not_saved node=%s error=\"%s\"", n->info.name, e.msg);
    }
    node_done(&old);
    if (back)
        log_line(LOG_INFO, "node_heard node=%s id=%s", n->info.name, n->info.id);
    feed_touch(s, FEED_NODE, n->info.id);
    if (back || differ || grew) {
        sched_retry(s);
        server_wake(s);
    }
    if (back || differ)
        feed_touch_routes(s);
    return 0;
}

int node_set_drained(struct server *s, struct node *n, bool drained, const char *reason,
                     struct err *err)
{
    struct node old = *n;
    n->drained = drained;
    STR_COPY(n->drain_reason, reason);
    if (save(s, n, err)) {
        *n = old;
        return -1;
    }
    feed_touch(s, FEED_NODE, n->info.id);
    sched_retry(s);
    server_wake(s);
    return 0;
}

void node_labels(const struct node *n, struct cluster_node *out)
{
    const struct cluster_node *sources[] = {&n->info, &n->given};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++)
        for (uint32_t k = 0; k < sources[i]->n_labels; k++)
            node_set_label(out, sources[i]->labels[k], NULL);
}

static void drop_label(struct cluster_node *n, const char *key)
{
    size_t len = strlen(key);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n->n_labels; i++) {
        if (strncmp(n->labels[i], key, len) == 0 && n->labels[i][len] == '=')
            continue;
        if (kept != i)
            STR_COPY(n->labels[kept], n->labels[i]);
        kept++;
    }
    n->n_labels = kept;
}

static int change_labels(struct cluster_node *given, const json_t *labels, struct err *err)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)labels, key, v)
    {
        if (json_is_null(v)) {
            drop_label(given, key);
            continue;
        }
        if (!json_is_string(v) || strchr(key, '='))
            return err_set(err, ERR_INVALID,
                           "label '%.40s' must be a text, or null to remove it; no key has a '='",
                           key);
        mem_auto char *label = mem_printf("%s=%s", key, json_string_value(v));
        if (label_check(label, err) || node_set_label(given, label, err))
            return -1;
    }
    return 0;
}

int node_label(struct server *s, struct node *n, const json_t *labels, struct err *err)
{
    struct cluster_node old = n->given, now = {0};
    STR_COPY(now.name, n->info.name);
    for (uint32_t i = 0; i < old.n_labels; i++)
        node_set_label(&now, old.labels[i], NULL);
    if (change_labels(&now, labels, err)) {
        node_done(&now);
        return -1;
    }
    n->given = now;
    if (save(s, n, err)) {
        n->given = old;
        node_done(&now);
        return -1;
    }
    node_done(&old);
    feed_touch(s, FEED_NODE, n->info.id);
    sched_retry(s);
    server_wake(s);
    return 0;
}

int node_forget(struct server *s, struct node *n, struct err *err)
{
    struct ops o = {0};
    char id[CLUSTER_ID];
    STR_COPY(id, n->info.id);
    const struct auth_key *k = auth_of_node(s->auth, id);
    char key_id[CLUSTER_ID] = "";
    if (!n->lost)
        return err_set(err, ERR_CONFLICT,
                       "node '%s' is not lost: stop its worker and wait %d s, or drain it",
                       n->info.name, (int)(s->lost_after_ms / 1000));
    ops_delete(&o, "node", id);
    if (k) {
        STR_COPY(key_id, k->id);
        auth_ops_delete(&o, k);
    }
    if (ops_commit(s, &o, NULL, err))
        return -1;
    auth_removed(s->auth, key_id);
    state_drop_node(s, n);
    feed_touch(s, FEED_NODE, id);
    server_wake(s);
    return 0;
}

/* Silent for long enough to be suspected, or lost a short while ago. */
static bool suspected(const struct server *s, const struct node *n, int64_t now)
{
    int64_t silence = now - n->seen_ms;
    return n->lost ? silence < s->lost_after_ms + BRAKE_WINDOW_MS : silence >= s->lost_after_ms / 2;
}

static bool brake(struct server *s, int64_t now, int64_t lag_ms)
{
    size_t silent = 0, known = 0;
    void *value;
    for (size_t i = 0; map_next(s->nodes, &i, NULL, &value);) {
        struct node *n = value;
        if (lag_ms > LAG_MS && !n->lost)
            n->seen_ms += lag_ms; /* we were away, not they */
        bool is_suspected = suspected(s, n, now);
        known += !n->lost || is_suspected;
        silent += is_suspected;
    }
    bool on = silent >= BRAKE_MIN && silent * 100 > known * BRAKE_PERCENT;
    if (on != s->frozen)
        log_line(LOG_WARN, "eviction_brake on=%s silent=%zu nodes=%zu", on ? "yes" : "no", silent,
                 known);
    s->frozen = on;
    return on;
}

void nodes_tick(struct server *s, int64_t lag_ms)
{
    int64_t now = loop_now_ms(s->loop);
    void *value;
    if (brake(s, now, lag_ms))
        return;
    for (size_t i = 0; map_next(s->nodes, &i, NULL, &value);) {
        struct node *n = value;
        if (n->lost || now - n->seen_ms < s->lost_after_ms)
            continue;
        n->lost = true;
        log_line(LOG_WARN,
                 "node_lost node=%s id=%s silent_ms=%lld next=\"its replicas restart "
                 "elsewhere\"",
                 n->info.name, n->info.id, (long long)(now - n->seen_ms));
        feed_touch(s, FEED_NODE, n->info.id);
        feed_touch_routes(s);
        server_wake(s);
    }
}

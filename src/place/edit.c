/* What-if changes of a snapshot; see edit.h. */
#include "place/edit.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/str.h"
#include "place/hold.h"

#include <string.h>
#include <strings.h>

enum { MAX_RAM_TIB = 64, NAMES_SHOWN = 4096 /* candidates for "did you mean" */ };

static const char *const OPS[] = {
    [EDIT_ADD] = "add",     [EDIT_ADD_NODE] = "add_node", [EDIT_REMOVE] = "remove",
    [EDIT_DRAIN] = "drain", [EDIT_UNDRAIN] = "undrain",   [EDIT_RELEASE] = "release",
};
_Static_assert(ARRAY_LEN(OPS) == EDIT_OP_COUNT, "one name per op");

const char *edit_op_name(enum edit_op op)
{
    return (unsigned)op < EDIT_OP_COUNT ? OPS[op] : "?";
}

int edit_from_json(struct edit *e, const json_t *doc, struct err *err)
{
    static const char *const KEYS[] = {"op", "what"};
    struct edit x = {.op = EDIT_OP_COUNT};
    const char *op = NULL;
    if (json_known_keys(doc, "an edit", KEYS, ARRAY_LEN(KEYS), err) ||
        json_get_str(doc, "op", true, &op, err) || JSON_COPY(doc, "what", true, x.what, err))
        return -1;
    for (size_t i = 0; i < EDIT_OP_COUNT; i++)
        if (strcmp(op, OPS[i]) == 0)
            x.op = (enum edit_op)i;
    if (x.op == EDIT_OP_COUNT) {
        const char *near = str_nearest(op, OPS, EDIT_OP_COUNT);
        return err_set(err, ERR_INVALID,
                       "op '%.40s' is none of add, add_node, remove, drain, undrain, release%s%s%s",
                       op, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    *e = x;
    return 0;
}

json_t *edit_to_json(const struct edit *e)
{
    json_t *o = json_object();
    json_put_str(o, "op", OPS[e->op]);
    json_put_str(o, "what", e->what);
    return o;
}

/* ---- who is meant ---- */

uint32_t edit_find_node(const struct cluster_snapshot *s, const char *name, struct err *err)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (strcmp(s->nodes[i].name, name) == 0 || strcmp(s->nodes[i].id, name) == 0)
            return i;
    uint32_t n = s->n_nodes < NAMES_SHOWN ? s->n_nodes : NAMES_SHOWN;
    mem_auto const char **names = mem_calloc((size_t)n + 1, sizeof *names);
    for (uint32_t i = 0; i < n; i++)
        names[i] = s->nodes[i].name;
    const char *near = str_nearest(name, names, n);
    if (near)
        err_fill(err, ERR_NOT_FOUND, "there is no node '%.60s'; did you mean '%s'?", name, near);
    else
        err_fill(err, ERR_NOT_FOUND, "there is no node '%.60s'; %s is the first of %u", name,
                 s->n_nodes ? s->nodes[0].name : "none", s->n_nodes);
    return UINT32_MAX;
}

/* "it has 0, 1 and 3" */
static void list_indexes(const struct cluster_node *n, char *dst, size_t cap)
{
    size_t used = 0;
    dst[0] = 0;
    for (uint32_t i = 0; i < n->n_devices && used + 24 < cap; i++) {
        str_copyf(dst + used, cap - used, "%s%u", i ? ", " : "", n->devices[i].index);
        used = strlen(dst);
    }
    if (!n->n_devices)
        str_copy(dst, cap, "none");
}

int edit_find_gpu(const struct cluster_snapshot *s, const char *name, uint32_t *node,
                  uint32_t *device, struct err *err)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t k = 0; k < s->nodes[i].n_devices; k++)
            if (s->nodes[i].devices[k].uuid[0] && strcmp(s->nodes[i].devices[k].uuid, name) == 0)
                return *node = i, *device = k, 0;
    const char *colon = strrchr(name, ':');
    char host[CLUSTER_NAME], has[96];
    uint64_t index;
    if (!colon || !str_copyf(host, sizeof host, "%.*s", (int)(colon - name), name) ||
        num_u64(colon + 1, "index", 0, CLUSTER_MAX_NODE_DEVICES, &index, NULL))
        return err_set(err, ERR_NOT_FOUND,
                       "there is no GPU '%.60s'; name one as node:index or by its uuid", name);
    *node = edit_find_node(s, host, err);
    if (*node == UINT32_MAX)
        return -1;
    const struct cluster_node *n = &s->nodes[*node];
    for (*device = 0; *device < n->n_devices; ++*device)
        if (n->devices[*device].index == index)
            return 0;
    list_indexes(n, has, sizeof has);
    return err_set(err, ERR_NOT_FOUND, "%s has no GPU %llu; it has %s", n->name,
                   (unsigned long long)index, has);
}

/* ---- adding ---- */

static const struct cluster_device *like(const struct cluster_snapshot *s, const char *name)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t k = 0; k < s->nodes[i].n_devices; k++)
            if (strcasecmp(s->nodes[i].devices[k].name, name) == 0)
                return &s->nodes[i].devices[k];
    return NULL;
}

int edit_complete_gpu(const struct cluster_snapshot *s, struct cluster_device *d, struct err *err)
{
    const struct cluster_device *model = like(s, d->name);
    d->kind = DEVICE_GPU;
    d->hbm = d->hbm || (model ? model->hbm : device_name_is_hbm(d->name));
    d->backend = model ? model->backend : BACKEND_CUDA;
    if (model && !d->total_bytes)
        d->total_bytes = model->total_bytes;
    if (model && d->bandwidth_bytes_per_s <= 0)
        d->bandwidth_bytes_per_s = model->bandwidth_bytes_per_s;
    if (model && !d->tdp_w)
        d->tdp_w = model->tdp_w;
    if (!d->total_bytes || (!model && d->bandwidth_bytes_per_s <= 0))
        return err_set(err, ERR_INVALID,
                       "no GPU of the cluster is named '%.60s', so its %s must be given: '%.60s "
                       "24GiB 936GB/s'",
                       d->name, d->total_bytes ? "bandwidth" : "memory and bandwidth", d->name);
    d->free_bytes = d->total_bytes;
    return 0;
}

void edit_add_gpu(struct cluster_node *n, const struct cluster_device *d)
{
    uint32_t index = 0;
    for (uint32_t i = 0; i < n->n_devices; i++)
        index = n->devices[i].index >= index ? n->devices[i].index + 1 : index;
    struct cluster_device *to = node_add_device(n);
    *to = *d;
    to->index = index;
    to->free_bytes = d->total_bytes;
    to->claimed_bytes = 0;
    str_copyf(to->uuid, sizeof to->uuid, "added:%.40s:%u", n->name, index);
}

/* A word that stands for a size or a rate; they begin with a digit and have a unit. */
static bool is_size(const char *word, uint64_t *out)
{
    size_t n = strlen(word);
    return n > 1 && word[0] >= '0' && word[0] <= '9' &&
           (word[n - 1] == 'B' || word[n - 1] == 'b') && num_bytes(word, "memory", out, NULL) == 0;
}

static bool is_rate(const char *word, double *out)
{
    return strchr(word, '/') && num_rate(word, "bandwidth", out, NULL) == 0;
}

struct gpus {
    struct cluster_device d;
    uint64_t count;
};

static int no_gpus(const char *text, struct err *err)
{
    return err_set(err, ERR_INVALID,
                   "'%.80s' names no GPUs; write for example '2x RTX 3090 24GiB 936GB/s'", text);
}

/* Words between blanks. Cuts the text in place; NULL at the end. */
static char *next_word(char **at)
{
    char *word = *at + strspn(*at, " \t"), *end = word + strcspn(word, " \t");
    *at = *end ? end + 1 : end;
    *end = 0;
    return *word ? word : NULL;
}

/* "2x RTX 3090 24GiB 936GB/s" */
static int parse_gpus(struct gpus *g, const char *text, struct err *err)
{
    char copy[EDIT_TEXT], *rest = copy, *w;
    STR_COPY(copy, text);
    *g = (struct gpus){.count = 1};
    bool first = true;
    while ((w = next_word(&rest))) {
        size_t n = strlen(w), used = strlen(g->d.name);
        if (first && n > 1 && w[n - 1] == 'x' && strspn(w, "0123456789") == n - 1) {
            w[n - 1] = 0;
            if (num_u64(w, "the number of GPUs", 1, EDIT_MAX_GPUS, &g->count, err))
                return -1;
        } else if (used && is_rate(w, &g->d.bandwidth_bytes_per_s)) {
        } else if (used && is_size(w, &g->d.total_bytes)) {
        } else if (g->d.total_bytes || g->d.bandwidth_bytes_per_s > 0) {
            return err_set(err, ERR_INVALID, "'%.80s': '%.40s' is neither a size nor a rate", text,
                           w);
        } else if (!str_copyf(g->d.name + used, sizeof g->d.name - used, "%s%s", used ? " " : "",
                              w)) {
            return err_set(err, ERR_LIMIT, "'%.80s': the name is longer than %zu bytes", text,
                           sizeof g->d.name - 1);
        }
        first = false;
    }
    return g->d.name[0] ? 0 : no_gpus(text, err);
}

/* What follows the colon: items between commas. Cuts the text in place; NULL at the end. */
static char *next_item(char **at)
{
    if (!*at)
        return NULL;
    char *item = *at + strspn(*at, " \t"), *comma = strchr(item, ',');
    *at = comma ? comma + 1 : NULL;
    if (comma)
        *comma = 0;
    return item;
}

static int add_gpus(struct cluster_snapshot *s, uint32_t node, const char *text, struct err *err)
{
    struct gpus g;
    if (parse_gpus(&g, text, err) || edit_complete_gpu(s, &g.d, err))
        return -1;
    if (s->nodes[node].n_devices + g.count > CLUSTER_MAX_NODE_DEVICES)
        return err_set(err, ERR_LIMIT, "node '%s' would have more than %d GPUs",
                       s->nodes[node].name, CLUSTER_MAX_NODE_DEVICES);
    for (uint64_t i = 0; i < g.count; i++)
        edit_add_gpu(&s->nodes[node], &g.d);
    return 0;
}

/* Splits "NAME: rest"; the rest is what is returned. */
static char *split_name(char *text, char *name, size_t cap, const char *example, struct err *err)
{
    char *colon = strchr(text, ':');
    if (!colon)
        return err_null(err, ERR_INVALID, "'%.80s' has no colon; write for example '%s'", text,
                        example);
    *colon = 0;
    struct str trimmed = str_trim(str_of(text));
    if (!trimmed.n || !str_copyf(name, cap, "%.*s", (int)trimmed.n, trimmed.p))
        return err_null(err, ERR_INVALID, "'%.80s' is no name of a node", text);
    return colon + 1;
}

static int do_add(struct cluster_snapshot *s, const char *what, struct err *err)
{
    char text[EDIT_TEXT], name[CLUSTER_NAME];
    STR_COPY(text, what);
    char *rest = split_name(text, name, sizeof name, "hill: 2x RTX 3090 24GiB", err);
    uint32_t node = rest ? edit_find_node(s, name, err) : UINT32_MAX;
    if (node == UINT32_MAX)
        return -1;
    for (char *item; (item = next_item(&rest));)
        if (add_gpus(s, node, item, err))
            return -1;
    return 0;
}

static bool is_ram(const char *item)
{
    return strncasecmp(item, "ram ", 4) == 0;
}

static int do_add_node(struct cluster_snapshot *s, const char *what, struct err *err)
{
    char text[EDIT_TEXT], name[CLUSTER_NAME];
    STR_COPY(text, what);
    char *rest = split_name(text, name, sizeof name, "elm: ram 64GiB, 2x RTX 3090", err);
    if (!rest)
        return -1;
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (strcmp(s->nodes[i].name, name) == 0)
            return err_set(err, ERR_INVALID, "there is a node '%s' already", name);
    if (s->n_nodes >= CLUSTER_MAX_NODES)
        return err_set(err, ERR_LIMIT, "%d nodes are the most", CLUSTER_MAX_NODES);
    uint32_t node = s->n_nodes;
    struct cluster_node *n = snapshot_add_node(s);
    STR_COPY(n->name, name);
    STR_COPY(n->id, name);
    for (char *item; (item = next_item(&rest));) {
        if (!is_ram(item)) {
            if (add_gpus(s, node, item, err))
                return -1;
            continue;
        }
        struct str size = str_trim(str_of(item + 4));
        mem_auto char *copy = mem_strndup(size.p, size.n);
        if (num_bytes(copy, "ram", &s->nodes[node].ram_bytes, err))
            return -1;
    }
    n = &s->nodes[node];
    if (!n->ram_bytes || n->ram_bytes > MAX_RAM_TIB * 1024 * GIB)
        return err_set(err, ERR_INVALID,
                       "node '%s' needs its RAM, up to %d TiB: '%.40s: ram 64GiB'", name,
                       MAX_RAM_TIB, name);
    n->ram_free_bytes = n->ram_bytes;
    return 0;
}

/* ---- taking away ---- */

static void drop_instance(struct cluster_snapshot *s, uint32_t at)
{
    struct cluster_instance *i = &s->instances[at];
    hold_give(s, i);
    for (uint32_t k = 0; k < i->n_parts; k++) {
        const struct cluster_instance_part *p = &i->parts[k];
        if (p->device == UINT32_MAX)
            continue;
        struct cluster_device *d = &s->nodes[p->node].devices[p->device];
        d->claimed_bytes -= p->bytes < d->claimed_bytes ? p->bytes : d->claimed_bytes;
        d->free_bytes = d->free_bytes < d->total_bytes ? d->free_bytes : d->total_bytes;
    }
    hold_done(i);
    json_decref(i->spec);
    memmove(i, i + 1, (s->n_instances - at - 1) * sizeof *i);
    s->n_instances--;
}

static bool holds(const struct cluster_instance *i, uint32_t node, uint32_t device)
{
    bool any = device == UINT32_MAX;
    for (uint32_t k = 0; k < i->n_parts; k++)
        if (i->parts[k].node == node && (any || i->parts[k].device == device))
            return true;
    return any && i->main == node;
}

static void drop_holders(struct cluster_snapshot *s, uint32_t node, uint32_t device)
{
    for (uint32_t i = s->n_instances; i-- > 0;)
        if (holds(&s->instances[i], node, device))
            drop_instance(s, i);
}

static void remove_gpu(struct cluster_snapshot *s, uint32_t node, uint32_t device)
{
    struct cluster_node *n = &s->nodes[node];
    drop_holders(s, node, device);
    memmove(&n->devices[device], &n->devices[device + 1],
            (n->n_devices - device - 1) * sizeof *n->devices);
    n->n_devices--;
    for (uint32_t i = 0; i < s->n_instances; i++)
        for (uint32_t k = 0; k < s->instances[i].n_parts; k++) {
            struct cluster_instance_part *p = &s->instances[i].parts[k];
            p->device -= p->node == node && p->device != UINT32_MAX && p->device > device;
        }
}

static void remove_node(struct cluster_snapshot *s, uint32_t node)
{
    drop_holders(s, node, UINT32_MAX);
    node_done(&s->nodes[node]);
    memmove(&s->nodes[node], &s->nodes[node + 1], (s->n_nodes - node - 1) * sizeof *s->nodes);
    s->n_nodes--;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->n_links; i++) {
        struct cluster_link l = s->links[i];
        if (!l.all && (l.a == node || l.b == node))
            continue;
        l.a -= l.a > node;
        l.b -= l.b > node;
        s->links[kept++] = l;
    }
    s->n_links = kept;
    for (uint32_t i = 0; i < s->n_instances; i++) {
        s->instances[i].main -= s->instances[i].main > node;
        for (uint32_t k = 0; k < s->instances[i].n_parts; k++)
            s->instances[i].parts[k].node -= s->instances[i].parts[k].node > node;
    }
}

static int do_remove(struct cluster_snapshot *s, const char *what, struct err *err)
{
    uint32_t node, device;
    struct err why = {0};
    for (node = 0; node < s->n_nodes; node++)
        if (strcmp(s->nodes[node].name, what) == 0 || strcmp(s->nodes[node].id, what) == 0)
            return remove_node(s, node), 0;
    if (edit_find_gpu(s, what, &node, &device, &why) == 0)
        return remove_gpu(s, node, device), 0;
    if (!strchr(what, ':'))
        edit_find_node(s, what, &why); /* with the nearest name */
    return err_set(err, why.code, "%s", why.msg);
}

static int do_release(struct cluster_snapshot *s, const char *what, struct err *err)
{
    bool found = false;
    for (uint32_t i = s->n_instances; i-- > 0;)
        if (strcmp(s->instances[i].deployment, what) == 0) {
            drop_instance(s, i);
            found = true;
        }
    return found ? 0 : err_set(err, ERR_NOT_FOUND, "nothing named '%.60s' runs", what);
}

static int do_state(struct cluster_snapshot *s, const char *what, enum node_state state,
                    struct err *err)
{
    uint32_t node = edit_find_node(s, what, err);
    if (node == UINT32_MAX)
        return -1;
    s->nodes[node].state = state;
    STR_COPY(s->nodes[node].reason, state == NODE_DRAINED ? "asked about" : "");
    return 0;
}

int edit_apply(struct cluster_snapshot *s, const struct edit *e, struct err *err)
{
    switch (e->op) {
    case EDIT_ADD:
        return do_add(s, e->what, err);
    case EDIT_ADD_NODE:
        return do_add_node(s, e->what, err);
    case EDIT_REMOVE:
        return do_remove(s, e->what, err);
    case EDIT_DRAIN:
        return do_state(s, e->what, NODE_DRAINED, err);
    case EDIT_UNDRAIN:
        return do_state(s, e->what, NODE_READY, err);
    case EDIT_RELEASE:
        return do_release(s, e->what, err);
    default:
        return err_set(err, ERR_INTERNAL, "edit %d", e->op);
    }
}

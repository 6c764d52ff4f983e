/* Constraints on nodes and GPUs; see allow.h. */
#include "place/allow.h"

#include "base/mem.h"
#include "base/str.h"

#include <string.h>

/* ---- what a name means ---- */

static bool is_node(const char *item, const struct cluster_node *n)
{
    return strcmp(item, n->name) == 0 || strcmp(item, n->id) == 0;
}

static bool listed(const struct name_list *l, const struct cluster_node *n)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (is_node(l->items[i], n))
            return true;
    return false;
}

bool allow_gpu_is(const char *item, const struct cluster_node *n, const struct cluster_device *d)
{
    if (d->uuid[0] && strcmp(item, d->uuid) == 0)
        return true;
    size_t len = strlen(n->name);
    if (strncmp(item, n->name, len) != 0 || item[len] != ':')
        return false;
    uint64_t index = 0;
    const char *p = item + len + 1;
    if (!*p)
        return false;
    for (; *p >= '0' && *p <= '9' && index < CLUSTER_MAX_NODE_DEVICES; p++)
        index = index * 10 + (uint64_t)(*p - '0');
    return !*p && index == d->index;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static bool part_of_word(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* "RTX 4090" is the type of "rtx 4090" and "RTX 4090 Ti", not of "RTX 4090D". */
static bool is_type(const char *type, const struct cluster_device *d)
{
    size_t i = 0;
    for (; type[i]; i++)
        if (lower(type[i]) != lower(d->name[i]))
            return false;
    return i > 0 && !part_of_word(d->name[i]);
}

static bool has_label(const struct cluster_node *n, const char *label)
{
    for (uint32_t i = 0; i < n->n_labels; i++)
        if (strcmp(n->labels[i], label) == 0)
            return true;
    return false;
}

static bool any_gpu_is(const struct cluster_snapshot *s, const char *item)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t d = 0; d < s->nodes[i].n_devices; d++)
            if (allow_gpu_is(item, &s->nodes[i], &s->nodes[i].devices[d]))
                return true;
    return false;
}

static bool any_node_is(const struct cluster_snapshot *s, const char *item)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (is_node(item, &s->nodes[i]))
            return true;
    return false;
}

static bool any_of_type(const struct cluster_snapshot *s, const char *type)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        for (uint32_t d = 0; d < s->nodes[i].n_devices; d++)
            if (is_type(type, &s->nodes[i].devices[d]))
                return true;
    return false;
}

static bool any_has_label(const struct cluster_snapshot *s, const char *label)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        if (has_label(&s->nodes[i], label))
            return true;
    return false;
}

/* ---- names that nothing has ---- */

enum { MAX_NEAR = 4096 }; /* names that a misspelt one is compared with */

/* Different texts to look for the nearest one in; borrowed but for what `own` holds. */
struct near {
    const char *names[MAX_NEAR];
    size_t n;
    char (*own)[CLUSTER_NAME + 16];
    size_t n_own;
};

static void near_add(struct near *x, const char *name)
{
    for (size_t i = 0; i < x->n; i++)
        if (strcmp(x->names[i], name) == 0)
            return;
    if (x->n < MAX_NEAR)
        x->names[x->n++] = name;
}

enum kind { KIND_NODE, KIND_GPU, KIND_TYPE, KIND_LABEL };

static void near_gpus(struct near *x, const struct cluster_node *n, enum kind kind)
{
    for (uint32_t d = 0; d < n->n_devices; d++) {
        if (kind == KIND_TYPE) {
            near_add(x, n->devices[d].name);
        } else if (x->n_own < MAX_NEAR) {
            char *name = x->own[x->n_own++];
            str_copyf(name, sizeof *x->own, "%s:%u", n->name, n->devices[d].index);
            near_add(x, name);
        }
    }
}

/* "there is no node 'hil'; did you mean 'hill'?", or the first one there is. */
static int unknown(const struct cluster_snapshot *s, enum kind kind, const char *item,
                   struct err *err)
{
    static const char *const WHAT[] = {"node", "GPU", "type of GPU", "label"};
    static const char *const HOW[] = {"", "; name one as node:index or by its uuid",
                                      "; a type is the name of a GPU or how it begins",
                                      "; a label is key=value"};
    mem_auto struct near *x = mem_calloc(1, sizeof *x);
    mem_auto char(*own)[CLUSTER_NAME + 16] = mem_calloc(MAX_NEAR, sizeof *own);
    x->own = own;
    for (uint32_t i = 0; i < s->n_nodes && x->n < MAX_NEAR; i++) {
        const struct cluster_node *n = &s->nodes[i];
        if (kind == KIND_NODE)
            near_add(x, n->name);
        else if (kind == KIND_LABEL)
            for (uint32_t k = 0; k < n->n_labels; k++)
                near_add(x, n->labels[k]);
        else
            near_gpus(x, n, kind);
    }
    const char *near = str_nearest(item, x->names, x->n);
    if (near)
        return err_set(err, ERR_NOT_FOUND, "there is no %s '%.60s'; did you mean '%.60s'?",
                       WHAT[kind], item, near);
    if (!x->n)
        return err_set(err, ERR_NOT_FOUND, "there is no %s '%.60s'; the cluster has none",
                       WHAT[kind], item);
    return err_set(err, ERR_NOT_FOUND, "there is no %s '%.60s'; there is for example '%.50s'%s",
                   WHAT[kind], item, x->names[0], HOW[kind]);
}

static int known_nodes(const struct cluster_snapshot *s, const struct name_list *l, struct err *err)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (!any_node_is(s, l->items[i]))
            return unknown(s, KIND_NODE, l->items[i], err);
    return 0;
}

static int known_gpus(const struct cluster_snapshot *s, const struct name_list *l, struct err *err)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (!any_gpu_is(s, l->items[i]))
            return unknown(s, KIND_GPU, l->items[i], err);
    return 0;
}

static int known_kept(const struct cluster_snapshot *s, const struct name_list *l, struct err *err)
{
    for (uint32_t i = 0; i < l->n; i++) {
        const char *x = l->items[i];
        if (!any_node_is(s, x) && !any_gpu_is(s, x) && !any_of_type(s, x))
            return unknown(s, strchr(x, ':') ? KIND_GPU : KIND_NODE, x, err);
    }
    return 0;
}

int allow_check(const struct cluster_snapshot *s, const struct constraints *w, struct err *err)
{
    if (known_nodes(s, &w->nodes, err) || known_nodes(s, &w->exclude_nodes, err) ||
        known_gpus(s, &w->gpus, err) || known_kept(s, &w->keep_whole, err))
        return -1;
    for (uint32_t i = 0; i < w->gpu_types.n; i++)
        if (!any_of_type(s, w->gpu_types.items[i]))
            return unknown(s, KIND_TYPE, w->gpu_types.items[i], err);
    for (uint32_t i = 0; i < w->labels.n; i++)
        if (!any_has_label(s, w->labels.items[i]))
            return unknown(s, KIND_LABEL, w->labels.items[i], err);
    return 0;
}

/* ---- nodes ---- */

static enum scene_why node_why(const struct constraints *w, const struct cluster_node *n)
{
    if (n->state == NODE_LOST)
        return SCENE_LOST;
    if (n->state == NODE_DRAINED)
        return SCENE_DRAINED;
    if (listed(&w->exclude_nodes, n))
        return SCENE_NODE_EXCLUDED;
    if (w->nodes.n && !listed(&w->nodes, n))
        return SCENE_NODE_NOT_LISTED;
    for (uint32_t i = 0; i < w->labels.n; i++)
        if (!has_label(n, w->labels.items[i]))
            return SCENE_LABEL;
    return SCENE_OK;
}

static void keep_apart(enum scene_why *why, uint32_t n_nodes, uint32_t node)
{
    if (node < n_nodes && !why[node])
        why[node] = SCENE_ANTI_AFFINITY;
}

void allow_nodes(const struct cluster_snapshot *s, const struct constraints *w, enum scene_why *why)
{
    for (uint32_t i = 0; i < s->n_nodes; i++)
        why[i] = node_why(w, &s->nodes[i]);
    for (uint32_t i = 0; w->anti_affinity.n && i < s->n_instances; i++) {
        const struct cluster_instance *x = &s->instances[i];
        if (!name_list_has(&w->anti_affinity, x->deployment))
            continue;
        keep_apart(why, s->n_nodes, x->main);
        for (uint32_t k = 0; k < x->n_parts; k++)
            keep_apart(why, s->n_nodes, x->parts[k].node);
    }
}

/* ---- GPUs ---- */

enum scene_why allow_gpu(const struct constraints *w, const struct cluster_node *n,
                         const struct cluster_device *d)
{
    bool found = w->gpus.n == 0;
    for (uint32_t i = 0; i < w->gpus.n && !found; i++)
        found = allow_gpu_is(w->gpus.items[i], n, d);
    if (!found)
        return SCENE_NOT_LISTED;
    found = w->gpu_types.n == 0;
    for (uint32_t i = 0; i < w->gpu_types.n && !found; i++)
        found = is_type(w->gpu_types.items[i], d);
    return found ? SCENE_OK : SCENE_TYPE;
}

bool allow_gpu_kept(const struct constraints *w, const struct cluster_node *n,
                    const struct cluster_device *d)
{
    for (uint32_t i = 0; i < w->keep_whole.n; i++)
        if (allow_gpu_is(w->keep_whole.items[i], n, d) || is_type(w->keep_whole.items[i], d))
            return true;
    return false;
}

bool allow_node_kept(const struct constraints *w, const struct cluster_node *n)
{
    return listed(&w->keep_whole, n);
}

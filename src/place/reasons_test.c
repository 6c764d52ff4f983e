/* What plans say: every code by a scenario that must lead to it, what proofs and changes claim by
 * planning again. */
#include "place/place.h"

#include "base/doc.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "model/model.h"
#include "os/file.h"
#include "place/place_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GPU(name, mem, bw, n)                                                                      \
    "{name: " name ", memory: " mem ", bandwidth: " bw "GB/s, count: " n "}"
#define NODE(name, ram, gpus) "  - {name: " name ", ram: " ram ", gpus: [" gpus "]}\n"
#define CARD24 GPU("RTX 3090", "24GiB", "936", "1")
#define CARD24X2 GPU("RTX 3090", "24GiB", "936", "2")
#define HEAD "schema: stowage.cluster/1\nnodes:\n"
#define HILL_DALE                                                                                  \
    HEAD NODE("hill", "64GiB", CARD24X2)                                                           \
        NODE("dale", "64GiB",                                                                      \
             GPU("RTX 4070", "12GiB", "504", "1") "," GPU("RTX 3060", "12GiB", "360", "1"))

/* One scenario: a cluster (the name of an example, or a file's text), a model, a spec; `says` are
 * codes that the plan must have. */
static const struct scenario {
    const char *cluster, *model, *spec;
    uint64_t steps; /* budget; 0: the default */
    const char *says;
} SCENARIOS[] = {
#include "place/reasons_cases.inc"
};

/* ---- what a plan has said ---- */

struct heard {
    bool code[NOTE_CODE_COUNT];
};

static void hear(struct heard *h, const struct note *n)
{
    char text[2][1024];
    if (!n->code)
        return;
    h->code[n->code] = true;
    for (int l = 0; l < WORDS_LANG_COUNT; l++) {
        note_text(n, l, text[l], sizeof text[l]);
        if (strpbrk(text[l], "{}?|"))
            fail_msg("%s: \"%s\"", word_at(n->code)->code, text[l]);
    }
}

static void hear_all(struct heard *h, const struct notes *l)
{
    for (size_t i = 0; i < l->n; i++)
        hear(h, &l->items[i]);
}

static void hear_findings(struct heard *h, const struct place_findings *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        hear(h, &l->items[i].what);
        hear_all(h, &l->items[i].says);
        assert_true(l->items[i].says.n > 0); /* never without a reason */
    }
}

static void hear_plan(struct heard *h, const struct place_plan *p)
{
    const struct notes *lists[] = {&p->why,     &p->proof, &p->notes,  &p->warnings,
                                   &p->remarks, &p->ways,  &p->assumed};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        hear_all(h, lists[i]);
    hear(h, &p->summary);
    hear(h, &p->verdict);
    hear_findings(h, &p->rejected);
    hear_findings(h, &p->refused);
    for (uint32_t i = 0; i < p->n_changes; i++) {
        hear(h, &p->changes[i].what);
        hear(h, &p->changes[i].gives);
    }
}

/* ---- a scenario ---- */

struct world {
    struct cluster_snapshot s;
    struct arch_facts *f;
    struct deployment_spec *spec;
    struct place_demand d;
};

static char *data_path(const char *folder, const char *name, const char *ext)
{
    const char *root = getenv("STOWAGE_SOURCE");
    return mem_printf("%s/%s/%s.%s", root ? root : "..", folder, name, ext);
}

static void read_cluster(const char *cluster, struct cluster_snapshot *s)
{
    mem_auto char *text = NULL;
    size_t n;
    struct err err = {0};
    if (strchr(cluster, '\n')) {
        text = mem_strdup(cluster);
        n = strlen(text);
    } else {
        mem_auto char *path = data_path("examples", cluster, "yaml");
        if (file_read(path, 1 << 20, &text, &n, &err))
            fail_msg("%s", err.msg);
    }
    snapshot_init(s);
    struct doc d;
    if (doc_parse(&d, "scenario", text, n, &err) || snapshot_from_doc(s, &d, &err))
        fail_msg("%s: %s", err.msg, text);
    doc_done(&d);
}

static void read_spec(const char *keys, struct deployment_spec *spec)
{
    struct err err = {0};
    mem_auto char *text =
        mem_printf("{\"name\":\"x\",\"model\":\"/m\"%s%s}", *keys ? "," : "", keys);
    json_auto_t *doc = json_parse(text, strlen(text), &err);
    if (!doc || spec_from_json(spec, doc, &err))
        fail_msg("%s: %s", err.msg, text);
}

static void world_init(struct world *w, const struct scenario *c)
{
    struct err err = {0};
    mem_auto char *path = data_path("tests/data/models", c->model, "ggufh");
    *w = (struct world){0};
    read_cluster(c->cluster, &w->s);
    w->spec = mem_calloc(1, sizeof *w->spec);
    read_spec(c->spec, w->spec);
    w->f = model_facts(path, NULL, &err);
    if (!w->f)
        fail_msg("%s", err.msg);
    place_default_ctx(w->spec, w->f);
    if (place_demand_init(&w->d, w->f, w->spec, &err))
        fail_msg("%s", err.msg);
}

static void world_done(struct world *w)
{
    arch_free(w->f);
    free(w->spec);
    snapshot_done(&w->s);
}

static struct place_plan *plan(const struct world *w, const struct place_budget *b)
{
    struct err err = {0};
    struct place_plan *p = place_plan(&w->s, &w->d, b, &err);
    if (!p)
        fail_msg("%s", err.msg);
    return p;
}

static bool fits(const struct world *w, enum place_tier *tier)
{
    struct place_budget b = {.bare = true};
    struct place_plan *p = plan(w, &b);
    bool yes = p->feasible;
    *tier = p->tier;
    place_free(p);
    return yes;
}

/* ---- claims ---- */

/* That one node or GPU fewer does not do is so. */
static void check_least(struct world *w, const struct place_plan *p)
{
    enum place_tier tier;
    struct constraints was = w->spec->want;
    const struct note *nodes = NULL, *gpus = NULL;
    for (size_t i = 0; i < p->proof.n; i++) {
        enum note_code c = p->proof.items[i].code;
        if (c >= NOTE_PROOF_NODES_LAYERS && c <= NOTE_PROOF_NODES_SEARCHED)
            nodes = &p->proof.items[i];
        if (c >= NOTE_PROOF_GPUS_LAYERS && c <= NOTE_PROOF_GPUS_SEARCHED)
            gpus = &p->proof.items[i];
    }
    w->spec->want.no_ram = true;
    if (nodes) {
        w->spec->want.max_nodes = (uint32_t)note_num_of(nodes, WORD_N_NODES);
        assert_false(fits(w, &tier));
        assert_true(note_num_of(nodes, WORD_LAYERS_FIT) <= note_num_of(nodes, WORD_LAYERS));
    }
    if (gpus) {
        w->spec->want.max_nodes = (uint32_t)note_num_of(gpus, WORD_N_NODES);
        w->spec->want.max_gpus = (uint32_t)note_num_of(gpus, WORD_N_GPUS);
        assert_false(fits(w, &tier));
    }
    w->spec->want = was;
}

static void drop(struct deployment_spec *spec, const char *key)
{
    struct err err = {0};
    json_auto_t *doc = spec_to_json(spec);
    assert_int_equal(json_object_del(doc, key), 0);
    if (strcmp(key, "gpus") == 0)
        json_object_del(doc, "tensor_split");
    if (spec_from_json(spec, doc, &err))
        fail_msg("%s", err.msg);
}

static struct cluster_node *node_named(struct world *w, const char *name)
{
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        if (strcmp(w->s.nodes[i].name, name) == 0)
            return &w->s.nodes[i];
    fail_msg("no node %s", name);
    return NULL;
}

static struct cluster_device *gpu_named(struct world *w, const char *label)
{
    char node[CLUSTER_NAME];
    size_t n = strcspn(label, ":");
    str_copyf(node, sizeof node, "%.*s", (int)n, label);
    struct cluster_node *x = node_named(w, node);
    for (uint32_t i = 0; i < x->n_devices; i++)
        if (x->devices[i].index == strtoul(label + n + 1, NULL, 10))
            return &x->devices[i];
    fail_msg("no GPU %s", label);
    return NULL;
}

static void add_cards(struct world *w, const struct note *n)
{
    struct cluster_node *node = node_named(w, note_str_of(n, WORD_NODE));
    struct cluster_device like = {.bandwidth_bytes_per_s = 936e9};
    for (uint32_t i = 0; i < w->s.n_nodes; i++)
        for (uint32_t d = 0; d < w->s.nodes[i].n_devices; d++)
            if (n->code == NOTE_ADD_SUCH_GPUS &&
                strcmp(w->s.nodes[i].devices[d].name, note_str_of(n, WORD_TYPE)) == 0)
                like = w->s.nodes[i].devices[d];
    like.kind = DEVICE_GPU;
    like.total_bytes = like.free_bytes = note_num_of(n, WORD_SIZE);
    for (uint32_t i = 0; i < note_num_of(n, WORD_N_GPUS); i++) {
        struct cluster_device *d = node_add_device(node);
        uint32_t index = node->n_devices > 1 ? d[-1].index + 1 : 0;
        *d = like;
        d->index = index;
        snprintf(d->uuid, sizeof d->uuid, "new-%u", i);
    }
}

/* Makes the change; false for one that cannot be made here. */
static void make(struct world *w, const struct note *n)
{
    switch (n->code) {
    case NOTE_SET_CTX:
    case NOTE_SET_KV:
    case NOTE_SET_KV_CTX:
        if (note_num_of(n, WORD_CTX))
            w->d.opts.ctx = (uint32_t)note_num_of(n, WORD_CTX) * w->d.opts.n_slots;
        if (*note_str_of(n, WORD_KV))
            assert_int_equal(kv_type_parse(note_str_of(n, WORD_KV), &w->d.opts.kv_k, NULL), 0);
        w->d.opts.kv_v = w->d.opts.kv_k;
        break;
    case NOTE_DROP:
        drop(w->spec, note_str_of(n, WORD_CONSTRAINT));
        break;
    case NOTE_DROP_ALL:
        w->spec->want = (struct constraints){0};
        break;
    case NOTE_UNDRAIN:
    case NOTE_NODE_BACK:
        node_named(w, note_str_of(n, WORD_NODE))->state = NODE_READY;
        break;
    case NOTE_UNDRAIN_ALL:
        for (uint32_t i = 0; i < w->s.n_nodes; i++)
            if (w->s.nodes[i].state == NODE_DRAINED)
                w->s.nodes[i].state = NODE_READY;
        break;
    case NOTE_ENGINE_SPAN:
        w->s.engine_devices = (uint32_t)note_num_of(n, WORD_N_GPUS);
        break;
    case NOTE_MOVE:
        gpu_named(w, note_str_of(n, WORD_GPU))->free_bytes += note_num_of(n, WORD_USED);
        gpu_named(w, note_str_of(n, WORD_OTHER))->free_bytes -= note_num_of(n, WORD_USED);
        break;
    case NOTE_ADD_GPUS:
    case NOTE_ADD_SUCH_GPUS:
        add_cards(w, n);
        break;
    default:
        fail_msg("no such change");
    }
}

/* What a change promises comes true, and what is said not to be enough is not. */
static void check_changes(const struct scenario *c, const struct place_plan *p)
{
    for (uint32_t i = 0; i < p->n_changes; i++) {
        const struct place_change *x = &p->changes[i];
        struct world w;
        enum place_tier tier;
        world_init(&w, c);
        make(&w, &x->what);
        bool yes = fits(&w, &tier), better = yes && (!p->feasible || tier < p->tier);
        if (better != x->fits || (x->fits && tier != x->tier))
            fail_msg("%s on %s: %s is wrong: %s", c->model, c->cluster, word_at(x->what.code)->code,
                     place_tier_name(tier));
        assert_true(!i || x->fits <= p->changes[i - 1].fits); /* those that do come first */
        world_done(&w);
    }
}

static void check_says(const struct scenario *c, const struct heard *h)
{
    for (const char *s = c->says; *s;) {
        size_t n = strcspn(s, " ");
        bool found = false;
        for (uint32_t i = 1; i < NOTE_CODE_COUNT && !found; i++)
            found =
                h->code[i] && strlen(word_at(i)->code) == n && strncmp(word_at(i)->code, s, n) == 0;
        if (!found)
            fail_msg("%s, {%s}: the plan does not say %.*s", c->model, c->spec, (int)n, s);
        s += n + (s[n] == ' ');
    }
}

static void test_scenarios(void **state)
{
    struct heard *all = *state;
    for (size_t i = 0; i < ARRAY_LEN(SCENARIOS); i++) {
        const struct scenario *c = &SCENARIOS[i];
        struct world w;
        struct heard here = {0};
        struct place_budget b = {.steps = c->steps};
        world_init(&w, c);
        struct place_plan *p = plan(&w, &b);
        hear_plan(&here, p);
        if (getenv("REASONS_SHOW")) {
            json_auto_t *doc = place_to_json(p);
            mem_auto char *text = json_text(doc);
            printf("# %zu %s {%s}: %s\n", i, c->model, c->spec, text);
        }
        check_says(c, &here);
        if (p->optimal && p->feasible)
            check_least(&w, p);
        if (!c->steps)
            check_changes(c, p);
        place_free(p);
        world_done(&w);
        for (uint32_t k = 0; k < NOTE_CODE_COUNT; k++)
            all->code[k] |= here.code[k];
    }
}

/* ---- figures by hand ---- */

static const struct note *said(const struct place_findings *l, enum note_code what,
                               enum note_code says)
{
    for (uint32_t i = 0; i < l->n; i++)
        if (l->items[i].what.code == what)
            return notes_find(&l->items[i].says, says);
    return NULL;
}

/* Every figure of the equal split's shortage, summed from the estimate itself. */
static void test_equal_split(void **state)
{
    struct world w;
    world_init(&w, &(struct scenario){"cluster-small-gpus", "llama-3.3-70b-q4_k_m", "\"ctx\":32768",
                                      0, ""});
    struct place_plan *p = plan(&w, NULL);
    assert_int_equal(p->a.n_parts, 3);
    const struct note *n = said(&p->rejected, NOTE_ALT_EQUAL_SPLIT, NOTE_GPU_SHORT);
    assert_non_null(n);
    struct estimate_model *m = estimate_new(w.f, &w.d.opts, NULL);
    struct estimate_bytes b[3], host;
    uint32_t counts[3] = {27, 27, 26}, at = 0;
    estimate_split_bytes(m, &(struct estimate_split){.n_devices = 3, .counts = counts}, b, &host);
    while (b[at].weights + b[at].kv + b[at].compute + p->a.parts[at].runtime_bytes +
               w.s.margin_bytes <=
           p->a.parts[at].free_bytes)
        at++;
    assert_int_equal(note_num_of(n, WORD_LAYERS), counts[at]);
    assert_int_equal(note_num_of(n, WORD_FREE), p->a.parts[at].free_bytes);
    assert_int_equal(note_num_of(n, WORD_NEED), b[at].weights + b[at].kv + b[at].compute +
                                                    p->a.parts[at].runtime_bytes +
                                                    w.s.margin_bytes);
    estimate_free(m);
    place_free(p);
    world_done(&w);
}

/* The shortage of one GPU is that of the whole model on it. */
static void test_one_gpu_short(void **state)
{
    struct world w;
    world_init(&w, &(struct scenario){HILL_DALE, "llama-3.3-70b-q4_k_m", "\"ctx\":8192", 0, ""});
    struct place_plan *p = plan(&w, NULL);
    const struct note *n = said(&p->rejected, NOTE_ALT_ONE_GPU, NOTE_SHORT);
    assert_non_null(n);
    struct estimate_model *m = estimate_new(w.f, &w.d.opts, NULL);
    struct estimate_bytes b, host;
    uint32_t count = 80;
    estimate_split_bytes(m, &(struct estimate_split){.n_devices = 1, .counts = &count}, &b, &host);
    uint64_t room = 24 * GIB - w.s.margin_bytes - w.s.runtime_bytes;
    assert_int_equal(note_num_of(n, WORD_NEED), b.weights + b.kv + b.compute);
    assert_int_equal(note_num_of(n, WORD_FREE), room);
    assert_int_equal(note_num_of(n, WORD_SHORT), b.weights + b.kv + b.compute - room);
    estimate_free(m);
    place_free(p);
    world_done(&w);
}

/* Ten thousand GPUs, all different: the list ends at its limit, and says so. */
static void test_long_list(void **state)
{
    struct heard *all = *state;
    struct world w;
    world_init(&w, &(struct scenario){HEAD NODE("n", "1GiB", CARD24), "deepseek-r1-q4_k_m-mla",
                                      "\"no_ram\":true", 0, ""});
    for (uint32_t i = 0; i < 10000; i++) {
        struct cluster_node *n = snapshot_add_node(&w.s);
        snprintf(n->name, sizeof n->name, "a%05u", i);
        snprintf(n->id, sizeof n->id, "a%05u", i);
        struct cluster_device *d = node_add_device(n);
        snprintf(d->uuid, sizeof d->uuid, "u%05u", i);
        snprintf(d->name, sizeof d->name, "card %u", i);
        d->total_bytes = d->free_bytes = 4 * GIB + i * MIB / 4;
        n->ram_free_bytes = n->ram_bytes = GIB;
    }
    struct place_budget b = {.no_changes = true};
    struct place_plan *p = plan(&w, &b);
    assert_false(p->feasible);
    assert_int_equal(p->refused.n, PLACE_MAX_FINDINGS);
    assert_int_equal(p->refused.total, 10000 + 3); /* with node n, RAM and limits */
    const struct note *cut = notes_find(&p->remarks, NOTE_LIST_CUT);
    assert_non_null(cut);
    assert_int_equal(note_num_of(cut, WORD_SHOWN), PLACE_MAX_FINDINGS);
    assert_int_equal(note_num_of(cut, WORD_TOTAL), 10003);
    hear_plan(all, p);
    place_free(p);
    world_done(&w);
}

/* Free memory is as old as the node that was heard of longest ago. */
static void test_age(void **state)
{
    struct heard *all = *state;
    struct world w;
    world_init(&w, &(struct scenario){HILL_DALE, "llama-3.1-8b-q4_k_m", "", 0, ""});
    w.s.nodes[0].seen_ms = 1200;
    w.s.nodes[1].seen_ms = 4001;
    struct place_plan *p = plan(&w, NULL);
    const struct note *n = notes_find(&p->assumed, NOTE_ASSUMED_SEEN);
    assert_non_null(n);
    assert_int_equal(note_num_of(n, WORD_SECONDS), 5);
    hear_plan(all, p);
    place_free(p);
    world_done(&w);
}

/* ---- searches that end early ---- */

/* Cards that all differ, and of which an engine's span is just about what the model needs: what is
 * not decided by bounds has to be searched, which a budget of one step does not allow. Which of
 * these clusters is hard is the search's own affair, so they are hunted for. */
static void hard_cluster(struct rng *r, bool spans, struct cluster_snapshot *s)
{
    uint32_t g = spans ? 8 + (uint32_t)rng_below(r, 4) : 2 + (uint32_t)rng_below(r, 11);
    uint32_t nodes = (spans ? 6 : 1) + (uint32_t)rng_below(r, 9),
             per = 1 + (uint32_t)rng_below(r, 5);
    uint64_t need = spans ? 71000 : 43400; /* MiB, of the models below */
    uint64_t more = spans ? 12 + rng_below(r, 24) : rng_below(r, 100);
    uint64_t base = need * (1000 + more) / 1000 / g + 1700, at = 0;
    snapshot_init(s);
    s->engine_devices = spans ? g : 0;
    for (uint32_t i = 0; i < nodes; i++) {
        struct cluster_node *n = snapshot_add_node(s);
        snprintf(n->name, sizeof n->name, "n%02u", i);
        snprintf(n->id, sizeof n->id, "n%02u", i);
        n->ram_bytes = n->ram_free_bytes = 900 * GIB;
        for (uint32_t k = 0; k < per; k++, at++) {
            struct cluster_device *d = node_add_device(n);
            d->index = k;
            snprintf(d->uuid, sizeof d->uuid, "u%u", (unsigned)at);
            snprintf(d->name, sizeof d->name, "card %u", (unsigned)at);
            d->total_bytes = d->free_bytes = (base * 97 / 100 + rng_below(r, base * 6 / 100)) * MIB;
            d->bandwidth_bytes_per_s = (double)(200 + rng_below(r, 800)) * 1e9;
        }
    }
}

static void test_hunt(void **state)
{
    static const enum note_code WANTED[] = {
        NOTE_OPEN_NODES,         NOTE_OPEN_GPUS,       NOTE_OPEN_TIME,  NOTE_OPEN_NO_GPUS,
        NOTE_WARN_BUDGET_NONE,   NOTE_NO_FIT_UNPROVED, NOTE_NONE_FOUND, NOTE_PROOF_NODES_SEARCHED,
        NOTE_PROOF_GPUS_SEARCHED};
    enum { TRIES = 3000, WITH_ALTERNATIVES = 40 };
    static const char *const MODELS[] = {"llama-3.3-70b-q4_k_m", "glm-4.5-air-q4_k_m"};
    struct heard *all = *state;
    struct rng r = {3};
    struct world w[2];
    uint32_t left = ARRAY_LEN(WANTED), tries = 0;
    for (int i = 0; i < 2; i++)
        world_init(&w[i], &(struct scenario){HILL_DALE, MODELS[i], "", 0, ""});
    while (left && tries < TRIES) {
        bool spans = tries % 2;
        struct world *x = &w[spans];
        struct place_budget b = {.steps = 1, .no_changes = true};
        struct err err = {0};
        snapshot_done(&x->s);
        hard_cluster(&r, spans, &x->s);
        x->spec->want.no_ram = !spans || rng_below(&r, 2);
        struct estimate_model *m = estimate_new(x->f, &x->d.opts, &err);
        b.no_changes = tries++ >= WITH_ALTERNATIVES;
        struct place_plan *p = place_model(&x->s, x->spec, m, &b, &err);
        assert_non_null(p);
        hear_plan(all, p);
        place_free(p);
        estimate_free(m);
        left = 0;
        for (size_t i = 0; i < ARRAY_LEN(WANTED); i++)
            left += !all->code[WANTED[i]];
    }
    print_message("# %u clusters\n", tries);
    for (int i = 0; i < 2; i++)
        world_done(&w[i]);
}

/* ---- all of it ---- */

/* The head of the text is the CLI's (its own tests); several plans and moves have their tests. */
static bool elsewhere(const char *code)
{
    return strncmp(code, "HEAD", 4) == 0 || strncmp(code, "TOGETHER_", 9) == 0 ||
           strncmp(code, "MOVES_", 6) == 0;
}

/* The last test: a code that nothing leads to is dead. */
static void test_every_code(void **state)
{
    const struct heard *all = *state;
    uint32_t missing = 0;
    for (uint32_t i = 1; i < NOTE_CODE_COUNT; i++)
        if (!all->code[i] && !elsewhere(word_at(i)->code)) {
            printf("# no scenario leads to %s\n", word_at(i)->code);
            missing++;
        }
    assert_int_equal(missing, 0);
}

int main(void)
{
    struct heard all = {0};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_scenarios, &all),
        cmocka_unit_test(test_equal_split),
        cmocka_unit_test(test_one_gpu_short),
        cmocka_unit_test_prestate(test_long_list, &all),
        cmocka_unit_test_prestate(test_age, &all),
        cmocka_unit_test_prestate(test_hunt, &all),
        cmocka_unit_test_prestate(test_every_code, &all),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

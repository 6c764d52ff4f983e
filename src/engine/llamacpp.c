/* Driver for llama.cpp: one llama-server on the main node, one rpc-server on every other member.
 *
 * Names of devices. llama.cpp numbers remote devices over all endpoints in --rpc order (RPC0, RPC1,
 * ...; an endpoint with several devices gives several), and local GPUs per back end (CUDA0, ...)
 * among those that the environment leaves visible. --device lists names in pipeline order and -ts
 * follows it.
 *
 * Who plays what. A part on another node is always remote. A part on the main node is local, unless
 * its back end is `fake`: then the main node's own rpc-server plays it. Layers in the main node's
 * RAM are no part: they are the first n_cpu_layers, which -ngl leaves to the CPU.
 *
 * Exactness. With -ngl k the engine puts item i (blocks, then the output layer) on the first device
 * whose share of the running sum of -ts exceeds (i - start) / k. Whole counts that add up to k are
 * therefore honoured exactly; the last device's count includes the output layer, and the blocks for
 * multi-token prediction that the engine counts but does not load. */
#include "engine/llamacpp.h"

#include "base/mem.h"
#include "base/num.h"

#include <string.h>

enum { MAX_MEMBERS = 256, BATCH = 2048 }; /* far above what any build spans */
enum { PORT_END = 32768 }; /* from here on the kernel hands ports to outgoing connections */

static bool on_main(const struct assignment *a, const struct assignment_part *p)
{
    return strcmp(p->node_id, a->main_id) == 0;
}

static bool is_remote(const struct assignment *a, const struct assignment_part *p)
{
    return !on_main(a, p) || p->backend == BACKEND_FAKE;
}

static uint32_t members(const struct assignment *a, const char *out[], uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        const struct assignment_part *p = &a->parts[i];
        bool known = !is_remote(a, p);
        for (uint32_t k = 0; k < n && !known; k++)
            known = strcmp(out[k], p->node_id) == 0;
        if (!known && n < max)
            out[n++] = p->node_id;
    }
    return n;
}

/* The number of part i among the devices of its rpc-server (or, for a local one, of its back end).
 */
static uint32_t number_within(const struct assignment *a, uint32_t i)
{
    const struct assignment_part *p = &a->parts[i];
    uint32_t n = 0;
    for (uint32_t k = 0; k < i; k++) {
        const struct assignment_part *q = &a->parts[k];
        if (strcmp(q->node_id, p->node_id) != 0 || is_remote(a, q) != is_remote(a, p))
            continue;
        n += is_remote(a, p) || q->backend == p->backend;
    }
    return n;
}

static uint32_t devices_of_member(const struct assignment *a, const char *node_id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_parts; i++)
        n += is_remote(a, &a->parts[i]) && strcmp(a->parts[i].node_id, node_id) == 0;
    return n;
}

static const char *backend_prefix(enum device_backend b)
{
    return b == BACKEND_CUDA ? "CUDA" : b == BACKEND_VULKAN ? "Vulkan" : "CPU";
}

void engine_device_name(const struct assignment *a, uint32_t part, char *dst, size_t cap)
{
    const struct assignment_part *p = &a->parts[part];
    uint32_t n = number_within(a, part);
    if (!is_remote(a, p)) {
        str_copyf(dst, cap, "%s%u", backend_prefix(p->backend), n);
        return;
    }
    const char *ids[MAX_MEMBERS];
    uint32_t n_members = members(a, ids, MAX_MEMBERS);
    for (uint32_t m = 0; m < n_members && strcmp(ids[m], p->node_id) != 0; m++)
        n += devices_of_member(a, ids[m]);
    str_copyf(dst, cap, "RPC%u", n);
}

/* ---- the assignment is something this engine can do ---- */

static int check_part(const struct assignment *a, uint32_t i, struct err *err)
{
    const struct assignment_part *p = &a->parts[i];
    if (on_main(a, p) && p->backend == BACKEND_CPU)
        return err_set(err, ERR_UNSUPPORTED,
                       "part %u is the RAM of the main node %s; that is what n_cpu_layers is for",
                       i, p->node);
    if (p->output != (i + 1 == a->n_parts))
        return err_set(err, ERR_UNSUPPORTED,
                       "the output layer must be on the last of %u parts; part %u says otherwise",
                       a->n_parts, i);
    if (p->n_layers == 0 && !p->output)
        return err_set(err, ERR_INVALID, "part %u (%s) carries no layer", i, p->device_name);
    for (uint32_t k = 0; k < i; k++)
        if (p->uuid[0] && strcmp(p->uuid, a->parts[k].uuid) == 0 &&
            strcmp(p->node_id, a->parts[k].node_id) == 0)
            return err_set(
                err, ERR_UNSUPPORTED,
                "device %s of %s is used by parts %u and %u; the engine takes a device once",
                p->uuid, p->node, k, i);
    return 0;
}

static int check(const struct assignment *a, struct err *err)
{
    if (a->n_blocks < a->n_layers || a->n_layers == 0)
        return err_set(err, ERR_INVALID, "%u blocks cannot hold %u layers", a->n_blocks,
                       a->n_layers);
    if (a->n_slots == 0 || a->ctx == 0 || a->ubatch == 0)
        return err_set(err, ERR_INVALID, "context %u, slots %u, micro-batch %u: each must be given",
                       a->ctx, a->n_slots, a->ubatch);
    if (a->n_parts > MAX_MEMBERS)
        return err_set(err, ERR_LIMIT, "%u devices; at most %d can be named to the engine",
                       a->n_parts, MAX_MEMBERS);
    uint64_t next = a->n_cpu_layers;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        if (check_part(a, i, err) < 0)
            return -1;
        if (a->parts[i].first_layer != next)
            return err_set(err, ERR_INVALID, "part %u starts at layer %u, expected %llu", i,
                           a->parts[i].first_layer, (unsigned long long)next);
        next += a->parts[i].n_layers;
    }
    if (next != a->n_layers && next != a->n_blocks)
        return err_set(err, ERR_INVALID, "the parts end at layer %llu of %u",
                       (unsigned long long)next, a->n_layers);
    return 0;
}

/* ---- arguments ---- */

struct args {
    struct engine_launch *l;
    uint32_t n_argv, n_env;
    bool full; /* something was left out: never started */
};

static void arg_take(struct args *s, char *text)
{
    if (s->n_argv + 1 < ENGINE_MAX_ARGV) {
        s->l->argv[s->n_argv++] = text;
        return;
    }
    free(text);
    s->full = true;
}

static void arg(struct args *s, const char *text)
{
    arg_take(s, mem_strdup(text));
}

static void arg_str(struct args *s, const char *flag, const char *value)
{
    arg(s, flag);
    arg(s, value);
}

static void arg_u32(struct args *s, const char *flag, uint32_t value)
{
    arg(s, flag);
    arg_take(s, mem_printf("%u", value));
}

static void env_take(struct args *s, char *text)
{
    if (s->n_env + 1 < ENGINE_MAX_ENV) {
        s->l->env[s->n_env++] = text;
        return;
    }
    free(text);
    s->full = true;
}

/* A comma list, in pipeline order, of what `add` writes for the parts it takes. */
typedef bool (*part_text)(const struct assignment *a, const struct engine_site *site, uint32_t part,
                          bool rpc, char *dst, size_t cap);

static char *list(const struct assignment *a, const struct engine_site *site, bool rpc,
                  part_text add)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    for (uint32_t i = 0; i < a->n_parts; i++) {
        char text[96];
        if (!add(a, site, i, rpc, text, sizeof text))
            continue;
        if (b.n)
            buf_addc(&b, ',');
        buf_adds(&b, text);
    }
    char *text = buf_take(&b);
    return text ? text : mem_strdup("");
}

/* Whether a process of this node (its rpc-server, or its llama-server) opens the part's device
 * itself. */
static bool opened_here(const struct assignment *a, const struct engine_site *site, uint32_t i,
                        bool rpc)
{
    const struct assignment_part *p = &a->parts[i];
    return strcmp(p->node_id, site->node_id) == 0 && is_remote(a, p) == rpc;
}

static bool text_cuda(const struct assignment *a, const struct engine_site *site, uint32_t i,
                      bool rpc, char *dst, size_t cap)
{
    const struct assignment_part *p = &a->parts[i];
    return p->backend == BACKEND_CUDA && opened_here(a, site, i, rpc) &&
           str_copy(dst, cap, p->uuid);
}

static bool text_vulkan(const struct assignment *a, const struct engine_site *site, uint32_t i,
                        bool rpc, char *dst, size_t cap)
{
    const struct assignment_part *p = &a->parts[i];
    return p->backend == BACKEND_VULKAN && opened_here(a, site, i, rpc) &&
           str_copyf(dst, cap, "%u", p->index);
}

static bool text_rpc_device(const struct assignment *a, const struct engine_site *site, uint32_t i,
                            bool rpc, char *dst, size_t cap)
{
    const struct assignment_part *p = &a->parts[i];
    if (!opened_here(a, site, i, rpc))
        return false;
    if (p->backend != BACKEND_CUDA && p->backend != BACKEND_VULKAN)
        return str_copy(dst, cap, "CPU");
    uint32_t n =
        0; /* visible devices are numbered per back end, in the order of the environment list */
    for (uint32_t k = 0; k < i; k++)
        n += opened_here(a, site, k, rpc) && a->parts[k].backend == p->backend;
    return str_copyf(dst, cap, "%s%u", backend_prefix(p->backend), n);
}

static bool text_name(const struct assignment *a, const struct engine_site *site, uint32_t i,
                      bool rpc, char *dst, size_t cap)
{
    (void)site, (void)rpc;
    engine_device_name(a, i, dst, cap);
    return true;
}

static bool text_share(const struct assignment *a, const struct engine_site *site, uint32_t i,
                       bool rpc, char *dst, size_t cap)
{
    (void)site, (void)rpc;
    const struct assignment_part *p = &a->parts[i];
    uint32_t n = p->output ? a->n_blocks + 1 - p->first_layer : p->n_layers;
    return str_copyf(dst, cap, "%u", n);
}

/* GPUs by UUID only, and none visible that the assignment does not name: an engine must neither
 * open a context on a GPU of someone else nor number devices differently from us. Empty lists hide
 * all. */
static void add_env(struct args *s, const struct assignment *a, const struct engine_site *site,
                    bool rpc)
{
    mem_auto char *cuda = list(a, site, rpc, text_cuda);
    mem_auto char *vulkan = list(a, site, rpc, text_vulkan);
    env_take(s, mem_printf("CUDA_VISIBLE_DEVICES=%s", cuda));
    env_take(s, mem_printf("GGML_VK_VISIBLE_DEVICES=%s", vulkan));
    env_take(s, mem_strdup("GGML_NO_BACKTRACE=1")); /* else a crash first starts a debugger */
    if (rpc) {
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < a->n_parts; i++)
            if (opened_here(a, site, i, rpc))
                bytes = num_add_sat(bytes, a->parts[i].free_bytes);
        env_take(s, mem_printf("STOWAGE_DEVICE_BYTES=%llu", (unsigned long long)bytes));
    }
    for (size_t i = 0; site->extra_env && site->extra_env[i]; i++)
        env_take(s, mem_strdup(site->extra_env[i])); /* last: the operator's word wins */
}

static int port_ok(uint16_t port, const char *what, struct err *err)
{
    if (port == 0 || port >= PORT_END)
        return err_set(err, ERR_INVALID, "port %u for %s: expected 1 to %d", port, what,
                       PORT_END - 1);
    return 0;
}

static int add_endpoints(struct args *s, const struct assignment *a, const struct engine_site *site,
                         struct err *err)
{
    const char *ids[MAX_MEMBERS];
    uint32_t n = members(a, ids, MAX_MEMBERS);
    if (n == 0)
        return 0;
    struct buf buf_auto b;
    buf_init(&b, 1 << 16);
    for (uint32_t i = 0; i < n; i++) {
        bool own = strcmp(ids[i], a->main_id) == 0;
        uint16_t port = own ? site->rpc_port : site->peer_ports ? site->peer_ports[i] : 0;
        if (port_ok(port, ids[i], err) < 0)
            return -1;
        buf_addf(&b, "%s127.0.0.1:%u", i ? "," : "", port);
    }
    arg_str(s, "--rpc", b.p);
    return 0;
}

static void add_placement(struct args *s, const struct assignment *a,
                          const struct engine_site *site)
{
    if (a->n_parts == 0) {
        arg_str(s, "--device", "none");
        arg_u32(s, "-ngl", 0);
        return;
    }
    arg(s, "--device");
    arg_take(s, list(a, site, false, text_name));
    arg_str(s, "-sm", "layer");
    arg_u32(s, "-ngl", a->n_blocks + 1 - a->n_cpu_layers);
    arg(s, "-ts");
    arg_take(s, list(a, site, false, text_share));
    if (a->n_cpu_moe)
        arg_u32(s, "-ncmoe", a->n_cpu_moe);
    bool local = false;
    for (uint32_t i = 0; i < a->n_parts; i++)
        local |= !is_remote(a, &a->parts[i]);
    /* A local GPU would copy weights that live in RAM over for big batches and take memory for the
     * largest of them that no plan counted (2 GiB for DeepSeek-R1). */
    if (local && (a->n_cpu_moe || a->n_cpu_layers))
        arg(s, "--no-op-offload");
}

static int launch_main(struct args *s, const struct assignment *a, const struct engine_site *site,
                       struct err *err)
{
    if (port_ok(site->main_port, "llama-server", err) < 0)
        return -1;
    s->l->port = site->main_port;
    arg_take(s, mem_printf("%s/llama-server", site->bin_dir));
    arg_str(s, "-m", site->model);
    arg_str(s, "--alias", site->alias);
    arg_str(s, "--host", "127.0.0.1");
    arg_u32(s, "--port", site->main_port);
    arg_u32(s, "-c", a->ctx);
    arg_u32(s, "-np", a->n_slots);
    arg_u32(s, "-b", a->ubatch > BATCH ? a->ubatch : BATCH);
    arg_u32(s, "-ub", a->ubatch);
    arg_str(s, "-fa", "on");
    arg_str(s, "-ctk", a->kv);
    arg_str(s, "-ctv", a->kv);
    if (add_endpoints(s, a, site, err) < 0)
        return -1;
    add_placement(s, a, site);
    arg_str(s, "-fit", "off");
    arg_str(s, "--cache-ram", "0"); /* else up to 8 GiB of RAM that no plan counted */
    arg_u32(s, "-t", site->n_threads ? site->n_threads : 1);
    arg_str(s, "-lv", "4"); /* the memory lines */
    arg(s, "--metrics");
    arg(s, "--no-webui"); /* the name that old and new versions take */
    arg(s, "--offline");
    add_env(s, a, site, false);
    return 0;
}

static int launch_rpc(struct args *s, const struct assignment *a, const struct engine_site *site,
                      struct err *err)
{
    if (port_ok(site->rpc_port, "the rpc-server", err) < 0)
        return -1;
    s->l->port = site->rpc_port;
    char *devices = list(a, site, true, text_rpc_device);
    if (!devices[0]) {
        free(devices);
        return err_set(err, ERR_INVALID, "node %s plays no remote part of this assignment",
                       site->node_id);
    }
    arg_take(s, mem_printf("%s/%s", site->bin_dir,
                           site->rpc_program ? site->rpc_program : "ggml-rpc-server"));
    arg_str(s, "-H", "127.0.0.1");
    arg_u32(s, "-p", site->rpc_port);
    arg(s, "-d");
    arg_take(s, devices);
    arg_u32(s, "-t", site->n_threads ? site->n_threads : 1);
    add_env(s, a, site, true);
    return 0;
}

static int launch(const struct assignment *a, const struct engine_site *site, const char *role,
                  struct engine_launch *out, struct err *err)
{
    if (check(a, err) < 0)
        return -1;
    struct engine_launch l = {0};
    struct args s = {.l = &l};
    STR_COPY(l.role, role);
    int rc;
    if (strcmp(role, "main") == 0)
        rc = launch_main(&s, a, site, err);
    else if (strcmp(role, "rpc") == 0)
        rc = launch_rpc(&s, a, site, err);
    else
        rc = err_set(err, ERR_INVALID, "role '%s': expected main or rpc", role);
    if (rc == 0 && s.full)
        rc = err_set(err, ERR_LIMIT, "more than %d arguments or %d environment values",
                     ENGINE_MAX_ARGV - 1, ENGINE_MAX_ENV - 1);
    if (rc < 0) {
        engine_launch_done(&l);
        return -1;
    }
    *out = l;
    return 0;
}

/* ---- facts ---- */

/* "RPC1[127.0.0.1:20002]": device 1 of the endpoint with that port. */
static int part_of_endpoint(const struct assignment *a, const struct engine_site *site,
                            uint32_t number, uint32_t port)
{
    const char *ids[MAX_MEMBERS];
    uint32_t n = members(a, ids, MAX_MEMBERS);
    for (uint32_t m = 0; m < n; m++) {
        bool own = strcmp(ids[m], a->main_id) == 0;
        uint32_t mine = own ? site->rpc_port : site->peer_ports ? site->peer_ports[m] : 0;
        if (mine != port)
            continue;
        for (uint32_t i = 0; i < a->n_parts; i++)
            if (is_remote(a, &a->parts[i]) && strcmp(a->parts[i].node_id, ids[m]) == 0 &&
                number-- == 0)
                return (int)i;
    }
    return ENGINE_PART_UNKNOWN;
}

static int part_of(const struct assignment *a, const struct engine_site *site, const char *device)
{
    unsigned number, port;
    int used = 0;
    if (sscanf(device, "RPC%u[127.0.0.1:%u]%n", &number, &port, &used) == 2 && used)
        return part_of_endpoint(a, site, number, port);
    for (uint32_t i = 0; i < a->n_parts; i++) {
        char name[48];
        engine_device_name(a, i, name, sizeof name);
        if (strcmp(name, device) == 0)
            return (int)i;
    }
    size_t n = strlen(device);
    if (strncmp(device, "CPU", 3) == 0 || (n > 5 && strcmp(device + n - 5, "_Host") == 0))
        return ENGINE_PART_HOST;
    return ENGINE_PART_UNKNOWN;
}

/* A third of 1 Gbit/s for what crosses the network, 100 MB/s for what is read from disk, and two
 * minutes for all the rest. An upper bound: a start that takes longer is hung, not slow. */
static int64_t startup_ms(const struct assignment *a)
{
    uint64_t sent = 0, all = a->host_weights_bytes;
    for (uint32_t i = 0; i < a->n_parts; i++) {
        all = num_add_sat(all, a->parts[i].weights_bytes);
        if (!on_main(a, &a->parts[i]))
            sent = num_add_sat(sent, a->parts[i].weights_bytes);
    }
    return 120000 + (int64_t)(sent / 40000) + (int64_t)(all / 100000);
}

extern const struct engine_driver engine_llamacpp;
const struct engine_driver engine_llamacpp = {
    .name = "llama.cpp",
    .members = members,
    .launch = launch,
    .read_line = llamacpp_read_line,
    .part_of = part_of,
    .startup_ms = startup_ms,
};

/* The reconciler's rules, row by row. */
#include "server/reconcile.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { NOW = 1000000, DRAIN = 5000, MAX_MEMBERS = 8 };

/* "main:ready rpc:up rpc:up!" -- a '!' marks a member on a lost node. */
static uint32_t parse_members(const char *text, struct recon_member *out)
{
    uint32_t n = 0;
    while (*text) {
        size_t len = strcspn(text, " ");
        mem_auto char *word = mem_strndup(text, len);
        struct recon_member *m = &out[n++];
        *m = (struct recon_member){.node = "hill", .code = "LIMIT", .message = "out of memory"};
        char *state = strchr(word, ':') + 1;
        m->role = strncmp(word, "main", 4) == 0 ? API_MAIN : API_RPC;
        m->lost = state[strlen(state) - 1] == '!';
        if (m->lost)
            state[strlen(state) - 1] = 0;
        assert_int_equal(member_state_parse(state, &m->state, NULL), 0);
        text += len + (text[len] == ' ');
    }
    return n;
}

static void describe(const struct recon_action *a, char *dst, size_t cap)
{
    static const char *const KINDS[] = {
        "create", "state", "note", "stop", "release", "remove", "remove_deployment"};
    if (a->kind == RECON_STATE)
        str_copyf(dst, cap, "%s%s%s", replica_state_name(a->to), a->code ? " " : "",
                  a->code ? err_info(a->code)->name : "");
    else if (a->kind == RECON_CREATE)
        str_copyf(dst, cap, "create %u", a->index);
    else
        str_copy(dst, cap, KINDS[a->kind]);
}

static const struct {
    const char *name;
    enum replica_state state;
    const char *members;
    bool stopping, claimed, deleting, noted;
    uint32_t index, wanted;
    int64_t age_ms, backoff_ms; /* in the state; until the back-off ends */
    const char *action;         /* "" none */
    int64_t wake_ms;            /* from now; 0: never */
} ROWS[] = {
    {"pending waits for the scheduler", REPLICA_PENDING, "", .wanted = 1, .action = ""},
    {"pending and not wanted", REPLICA_PENDING, "", .wanted = 0, .action = "remove"},
    {"pending, deployment goes", REPLICA_PENDING, "", .deleting = true, .wanted = 1,
     .action = "remove"},
    {"assigned, nobody reports", REPLICA_ASSIGNED, "main:waiting rpc:waiting", .claimed = true,
     .wanted = 1, .age_ms = 1000, .action = "", .wake_ms = 29000},
    {"assigned for too long", REPLICA_ASSIGNED, "main:waiting rpc:up", .claimed = true, .wanted = 1,
     .age_ms = 30000, .action = "failed TIMEOUT"},
    {"a member fetches", REPLICA_ASSIGNED, "main:fetching rpc:up", .claimed = true, .wanted = 1,
     .action = "fetching"},
    {"a member starts", REPLICA_ASSIGNED, "main:waiting rpc:starting", .claimed = true, .wanted = 1,
     .action = "starting"},
    {"still fetching", REPLICA_FETCHING, "main:fetching rpc:up", .claimed = true, .wanted = 1,
     .age_ms = 9999999, .action = ""},
    {"fetched", REPLICA_FETCHING, "main:starting rpc:up", .claimed = true, .wanted = 1,
     .action = "starting"},
    {"loading", REPLICA_STARTING, "main:loading rpc:up", .claimed = true, .wanted = 1,
     .age_ms = 1000, .action = "", .wake_ms = 119000},
    {"loading for too long", REPLICA_STARTING, "main:loading rpc:up", .claimed = true, .wanted = 1,
     .age_ms = 120000, .action = "failed TIMEOUT"},
    {"main ready, a peer not up", REPLICA_STARTING, "main:ready rpc:starting", .claimed = true,
     .wanted = 1, .action = "", .wake_ms = 120000},
    {"all ready", REPLICA_STARTING, "main:ready rpc:up", .claimed = true, .wanted = 1,
     .action = "ready"},
    {"ready stays", REPLICA_READY, "main:ready rpc:up", .claimed = true, .wanted = 1,
     .age_ms = 99999999, .action = ""},
    {"a peer dies", REPLICA_READY, "main:ready rpc:failed", .claimed = true, .wanted = 1,
     .action = "failed LIMIT"},
    {"a peer stops by itself", REPLICA_READY, "main:ready rpc:stopped", .claimed = true,
     .wanted = 1, .action = "failed UNAVAILABLE"},
    {"a node falls silent", REPLICA_READY, "main:ready rpc:up!", .claimed = true, .wanted = 1,
     .action = "lost UNREACHABLE"},
    {"silent while loading", REPLICA_STARTING, "main:loading! rpc:up", .claimed = true, .wanted = 1,
     .action = "lost UNREACHABLE"},
    {"failed, members run", REPLICA_FAILED, "main:ready rpc:failed", .stopping = true,
     .claimed = true, .wanted = 1, .action = ""},
    {"failed, nobody was told", REPLICA_FAILED, "main:ready rpc:failed", .claimed = true,
     .wanted = 1, .action = "stop"},
    {"failed, one still runs", REPLICA_FAILED, "main:stopped rpc:failed", .stopping = true,
     .claimed = true, .wanted = 1, .action = ""},
    {"failed, all stopped", REPLICA_FAILED, "main:stopped rpc:stopped", .stopping = true,
     .claimed = true, .wanted = 1, .action = "release"},
    {"lost, the others stopped", REPLICA_LOST, "main:stopped rpc:up!", .stopping = true,
     .claimed = true, .wanted = 1, .action = "release"},
    {"lost, the others run", REPLICA_LOST, "main:ready rpc:up!", .stopping = true, .claimed = true,
     .wanted = 1, .action = ""},
    {"back-off runs", REPLICA_FAILED, "main:stopped", .stopping = true, .wanted = 1,
     .backoff_ms = 400, .action = "", .wake_ms = 400},
    {"back-off ended", REPLICA_FAILED, "main:stopped", .stopping = true, .wanted = 1,
     .backoff_ms = 0, .action = "pending"},
    {"lost, back-off ended", REPLICA_LOST, "main:up!", .stopping = true, .wanted = 1,
     .action = "pending"},
    {"failed and not wanted", REPLICA_FAILED, "main:stopped", .stopping = true, .wanted = 0,
     .backoff_ms = 400, .action = "remove"},
    {"failed, not wanted, still holds", REPLICA_FAILED, "main:ready", .stopping = true,
     .claimed = true, .wanted = 0, .action = ""},
    {"scaled down", REPLICA_READY, "main:ready", .claimed = true, .index = 1, .wanted = 1,
     .action = "draining"},
    {"deployment goes while starting", REPLICA_STARTING, "main:loading", .claimed = true,
     .deleting = true, .wanted = 1, .action = "draining"},
    {"draining", REPLICA_DRAINING, "main:ready", .claimed = true, .deleting = true, .wanted = 1,
     .age_ms = 2000, .action = "", .wake_ms = 3000},
    {"drained", REPLICA_DRAINING, "main:ready", .claimed = true, .deleting = true, .wanted = 1,
     .age_ms = 5000, .action = "stop"},
    {"drained, stopping", REPLICA_DRAINING, "main:ready rpc:stopped", .stopping = true,
     .claimed = true, .deleting = true, .wanted = 1, .age_ms = 5000, .action = "",
     .wake_ms = 115000},
    {"drained, does not stop", REPLICA_DRAINING, "main:stopped rpc:up", .stopping = true,
     .claimed = true, .deleting = true, .wanted = 1, .age_ms = 120000, .action = "note"},
    {"drained, does not stop, was said", REPLICA_DRAINING, "main:stopped rpc:up", .stopping = true,
     .claimed = true, .deleting = true, .wanted = 1, .age_ms = 999999, .noted = true, .action = ""},
    {"drained, stopped", REPLICA_DRAINING, "main:stopped rpc:up!", .stopping = true,
     .claimed = true, .deleting = true, .wanted = 1, .age_ms = 5000, .action = "remove"},
};

static void rows(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct recon_member members[MAX_MEMBERS];
        struct recon_deployment d = {ROWS[i].wanted, ROWS[i].deleting};
        struct recon_replica r = {.index = ROWS[i].index,
                                  .state = ROWS[i].state,
                                  .stopping = ROWS[i].stopping,
                                  .claimed = ROWS[i].claimed,
                                  .noted = ROWS[i].noted,
                                  .since_ms = NOW - ROWS[i].age_ms,
                                  .backoff_until_ms = NOW + ROWS[i].backoff_ms,
                                  .members = members,
                                  .n_members = parse_members(ROWS[i].members, members)};
        struct recon_in in = {&d, 1, &r, 1, NOW, DRAIN};
        struct recon_out out = {0};
        char text[64] = "";
        reconcile(&in, &out);
        /* Missing siblings are another test's matter. */
        if (out.n && out.actions[0].kind != RECON_CREATE)
            describe(&out.actions[0], text, sizeof text);
        if (strcmp(text, ROWS[i].action) != 0)
            fail_msg("%s: '%s', expected '%s'", ROWS[i].name, text, ROWS[i].action);
        int64_t wake = out.wake_ms == INT64_MAX ? 0 : out.wake_ms - NOW;
        if (!text[0] && wake != ROWS[i].wake_ms) /* after an action it is asked again at once */
            fail_msg("%s: wake in %lld, expected %lld", ROWS[i].name, (long long)wake,
                     (long long)ROWS[i].wake_ms);
        if (out.n && out.actions[0].kind == RECON_STATE && !replica_may(r.state, out.actions[0].to))
            fail_msg("%s: %s is no legal step", ROWS[i].name, text);
        free(out.actions);
    }
}

static void all_actions(const struct recon_in *in, char *dst, size_t cap)
{
    struct recon_out out = {0};
    reconcile(in, &out);
    dst[0] = 0;
    for (size_t i = 0; i < out.n; i++) {
        char text[64];
        size_t n = strlen(dst);
        describe(&out.actions[i], text, sizeof text);
        str_copyf(dst + n, cap - n, "%u:%s ", out.actions[i].deployment, text);
    }
    free(out.actions);
}

static void replicas_come_and_go(void **state)
{
    char text[256];
    struct recon_deployment d[] = {{3, false}, {0, false}, {2, true}};
    struct recon_replica r[] = {
        {.deployment = 0, .index = 1, .state = REPLICA_PENDING},
        {.deployment = 0, .index = 7, .state = REPLICA_PENDING},
    };
    struct recon_in in = {d, 3, r, 2, NOW, DRAIN};
    all_actions(&in, text, sizeof text);
    assert_string_equal(text, "0:remove 0:create 0 0:create 2 2:remove_deployment ");
    /* A row that drains keeps its index until it is gone; a deployment with rows stays. */
    r[0] = (struct recon_replica){
        .deployment = 2, .index = 0, .state = REPLICA_DRAINING, .since_ms = NOW};
    r[1] = (struct recon_replica){
        .deployment = 0, .index = 0, .state = REPLICA_DRAINING, .since_ms = NOW};
    all_actions(&in, text, sizeof text);
    assert_string_equal(text, "0:create 1 0:create 2 ");
}

/* Bytes to send stretch the deadline of the start, nothing else. */
static void deadline_grows_with_bytes(void **state)
{
    struct recon_member members[MAX_MEMBERS];
    struct recon_deployment d = {1, false};
    struct recon_replica r = {.state = REPLICA_STARTING,
                              .claimed = true,
                              .since_ms = NOW - 200000,
                              .bytes = (uint64_t)10 << 30,
                              .members = members,
                              .n_members = parse_members("main:loading", members)};
    struct recon_in in = {&d, 1, &r, 1, NOW, DRAIN};
    char text[256];
    all_actions(&in, text, sizeof text);
    assert_string_equal(text, "");
    r.bytes = 0;
    all_actions(&in, text, sizeof text);
    assert_string_equal(text, "0:failed TIMEOUT ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows),
        cmocka_unit_test(replicas_come_and_go),
        cmocka_unit_test(deadline_grows_with_bytes),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What has to happen: (desired, observed, now) to actions. Pure; any thread.
 *
 * Level-triggered: it looks at what is, never at what happened, and asked twice it answers the
 * same. The caller applies the actions and asks again until there is none; `wake_ms` says when time
 * alone will change the answer. The life of a replica is the table of cluster/deployment.h; the
 * rules of a group are here: all members or none, any member lost or failed stops all, memory is
 * given back when the last reachable member has stopped. */
#ifndef SERVER_RECONCILE_H
#define SERVER_RECONCILE_H

#include "api/messages.h"

struct recon_deployment {
    uint32_t replicas; /* wanted */
    bool deleting;
};
struct recon_member {
    enum api_role role;
    enum member_state state;
    bool lost; /* its node is silent or forgotten */
    const char *node, *code, *message;
};
struct recon_replica {
    uint32_t deployment; /* index into deployments */
    uint32_t index;
    enum replica_state state;
    bool stopping;    /* members are told to stop already */
    bool claimed;     /* it holds memory in the books */
    bool noted;       /* that it takes too long was said already */
    int64_t since_ms; /* when it came into its state */
    int64_t backoff_until_ms;
    uint64_t bytes;                     /* to read and send at start */
    const struct recon_member *members; /* the main first */
    uint32_t n_members;
};
struct recon_in {
    const struct recon_deployment *deployments;
    uint32_t n_deployments;
    const struct recon_replica *replicas; /* in any order */
    uint32_t n_replicas;
    int64_t now_ms, drain_ms;
};

enum recon_kind {
    RECON_CREATE,  /* a replica `index` of `deployment`, PENDING */
    RECON_STATE,   /* `replica` goes to `to` for `code`: `message` */
    RECON_NOTE,    /* `replica` stays as it is, for `code`: `message` */
    RECON_STOP,    /* tell its members to stop */
    RECON_RELEASE, /* its memory is free again */
    RECON_REMOVE,  /* GONE: its row goes, with its claims */
    RECON_REMOVE_DEPLOYMENT,
};
struct recon_action {
    enum recon_kind kind;
    uint32_t deployment, replica, index;
    enum replica_state to;
    enum err_code code;
    char message[200];
};
struct recon_out {
    struct recon_action *actions;
    size_t n, cap;
    int64_t wake_ms; /* when to ask again; INT64_MAX: when something changes */
};
/* At most one action per replica and per missing replica. *out is zeroed by the caller; free its
 * actions with free(). */
void reconcile(const struct recon_in *in, struct recon_out *out);

#endif

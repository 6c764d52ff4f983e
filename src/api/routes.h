/* The routes of /api/v1 with their policy, and matching. Pure; any thread.
 *
 * One row per route; the policy is part of the row's macro, so that a route without one does not
 * compile. The server's handlers, the tests' matrix of rights and the reference are made from it.
 */
#ifndef API_ROUTES_H
#define API_ROUTES_H

#include "base/str.h"

#include <stdbool.h>

/* Who may call a route. POLICY_UNSET is what a forgotten policy would be and is refused by a
 * _Static_assert for each row. An admin key passes every policy. */
enum api_policy {
    POLICY_UNSET,
    POLICY_PUBLIC, /* no key needed */
    POLICY_TOKEN,  /* a join token */
    POLICY_ADMIN,
    POLICY_GATEWAY,
    POLICY_WORKER_OWN, /* a worker's key, and the row is its node's own */
    POLICY_COUNT,
};
const char *api_policy_name(enum api_policy p);

/* X(id, method, pattern, policy, summary). {id} matches one segment; {name} the whole rest, since
 * names of deployments may hold slashes. */
#define API_ROUTE_TABLE(X)                                                                         \
    X(HEALTH, "GET", "/api/v1/health", POLICY_PUBLIC, "liveness and version")                      \
    X(JOIN, "POST", "/api/v1/join", POLICY_TOKEN, "a new node joins")                              \
    X(NODE_INVENTORY, "PUT", "/api/v1/nodes/{id}/inventory", POLICY_WORKER_OWN,                    \
      "facts and readings of a node; its heartbeat")                                               \
    X(NODES, "GET", "/api/v1/nodes", POLICY_ADMIN, "all nodes")                                    \
    X(NODE_DRAIN, "POST", "/api/v1/nodes/{id}/drain", POLICY_ADMIN, "no new work on a node")       \
    X(NODE_UNDRAIN, "POST", "/api/v1/nodes/{id}/undrain", POLICY_ADMIN, "new work again")          \
    X(NODE_LABEL, "PATCH", "/api/v1/nodes/{id}/labels", POLICY_ADMIN, "labels of a node")          \
    X(NODE_DELETE, "DELETE", "/api/v1/nodes/{id}", POLICY_ADMIN, "forgets a lost node")            \
    X(NODE_TASKS, "GET", "/api/v1/nodes/{id}/tasks", POLICY_WORKER_OWN, "watch of a node's tasks") \
    X(MEMBER_REPORT, "PUT", "/api/v1/replicas/{id}/members/{node}", POLICY_WORKER_OWN,             \
      "what a member of a replica does")                                                           \
    X(DEPLOY, "POST", "/api/v1/deployments", POLICY_ADMIN, "a new deployment")                     \
    X(DEPLOYMENTS, "GET", "/api/v1/deployments", POLICY_ADMIN, "all deployments")                  \
    X(DEPLOYMENT, "GET", "/api/v1/deployments/{name}", POLICY_ADMIN, "one deployment")             \
    X(SCALE, "PATCH", "/api/v1/deployments/{name}", POLICY_ADMIN, "number of replicas")            \
    X(UNDEPLOY, "DELETE", "/api/v1/deployments/{name}", POLICY_ADMIN, "drains and removes")        \
    X(REPLICAS, "GET", "/api/v1/replicas", POLICY_ADMIN, "all replicas")                           \
    X(REPLICA_LOG, "GET", "/api/v1/replicas/{id}/log", POLICY_ADMIN, "log lines of all members")   \
    X(LOG_LINES, "POST", "/api/v1/logs/{stream}", POLICY_WORKER_OWN, "log lines of one member")    \
    X(EXPLAIN, "GET", "/api/v1/explain/{name}", POLICY_ADMIN, "stored decisions with reasons")     \
    X(PLAN, "POST", "/api/v1/plan", POLICY_ADMIN, "dry run on the live cluster")                   \
    X(EVENTS, "GET", "/api/v1/events", POLICY_ADMIN, "watch of nodes, deployments, replicas")      \
    X(ROUTES, "GET", "/api/v1/routes", POLICY_GATEWAY, "watch of the gateway's routes")            \
    X(KEY_CREATE, "POST", "/api/v1/keys", POLICY_ADMIN, "a new API key, shown once")               \
    X(KEYS, "GET", "/api/v1/keys", POLICY_ADMIN, "all keys, without their secrets")                \
    X(KEY_DELETE, "DELETE", "/api/v1/keys/{id}", POLICY_ADMIN, "revokes a key")                    \
    X(TOKEN_CREATE, "POST", "/api/v1/tokens", POLICY_ADMIN, "a join token, shown once")            \
    X(SNAPSHOT, "GET", "/api/v1/snapshot", POLICY_ADMIN, "the cluster as a file")

enum api_route_id {
#define API_ROUTE_ENUM(id, method, pattern, policy, summary) ROUTE_##id,
    API_ROUTE_TABLE(API_ROUTE_ENUM)
#undef API_ROUTE_ENUM
        ROUTE_COUNT,
};

struct api_route_row {
    enum api_route_id id;
    const char *method, *pattern;
    enum api_policy policy;
    const char *summary;
};
extern const struct api_route_row API_ROUTES[ROUTE_COUNT];

enum { API_ROUTE_PARAMS = 2 };
struct api_match {
    const struct api_route_row *row;     /* NULL: no such route */
    struct str params[API_ROUTE_PARAMS]; /* views into the path, in order of the pattern */
    bool path_known;                     /* the path exists with another method */
};
struct api_match api_route_match(struct str method, struct str path);

#endif

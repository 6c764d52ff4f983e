/* Keys and join tokens: who calls, and what they may. I/O (key files); owned by the loop's thread.
 *
 * A key is `sk-` and a token `jt-` with 256 random bits in base64url; only HMAC-SHA256(server
 * secret, key) is stored. Guessing is hopeless, so there is no throttle; comparison is constant in
 * time. */
#ifndef SERVER_AUTH_H
#define SERVER_AUTH_H

#include "server/internal.h"

enum { AUTH_KEY_TEXT = 3 + 43 + 1, AUTH_MAX_KEYS = API_MAX_KEYS };

enum auth_scope { AUTH_ADMIN, AUTH_API, AUTH_WORKER, AUTH_GATEWAY, AUTH_TOKEN, AUTH_SCOPE_COUNT };
const char *auth_scope_name(enum auth_scope s);

struct auth_key {
    char id[CLUSTER_ID], name[CLUSTER_NAME], hash[API_HEX];
    enum auth_scope scope;
    char node_id[CLUSTER_ID];       /* worker */
    uint32_t uses;                  /* token: how often it may still be used */
    int64_t created_at, expires_at; /* Unix ms of this machine; 0: never */
    bool in_memory;                 /* of the roles in this process; ends with it */
};

/* Reads or makes the secret and the admin key in s->state_dir, and loads the stored keys. ERR_IO.
 */
struct auth *auth_new(struct server *s, struct err *err);
void auth_free(struct auth *a);
const char *auth_admin_key(const struct auth *a);

/* The key of a request's Authorization header; NULL when there is none, it is unknown, used up or
 * expired. The result lives until the next change of keys. */
const struct auth_key *auth_find(struct auth *a, const struct http_req *r);
/* Whether the key passes the policy; `own` is the node that the row belongs to (worker policy). */
bool auth_may(const struct auth_key *k, enum api_policy policy, const char *own);

/* Makes a key: its text once in `text`, its row in *out (name, scope, node_id, uses, expires_at
 * given by the caller; id, hash and created_at are filled). Nothing is stored yet: */
void auth_make(struct auth *a, struct auth_key *k, char text[AUTH_KEY_TEXT]);
/* Adds the row to a transaction; call auth_added once it is committed. */
void auth_ops_put(struct ops *o, const struct auth_key *k);
void auth_ops_delete(struct ops *o, const struct auth_key *k);
void auth_added(struct auth *a, const struct auth_key *k);
void auth_removed(struct auth *a, const char *id);
const struct auth_key *auth_by_id(const struct auth *a, const char *id);
/* The key of a node's worker, or NULL. */
const struct auth_key *auth_of_node(const struct auth *a, const char *node_id);
json_t *auth_list(const struct auth *a); /* keys for people: no hashes, no tokens, none of ours */
/* One use of a token: the change for the transaction, and the same in memory once it is committed.
 * Keys of other scopes are not used up. */
void auth_ops_use(const struct auth_key *k, struct ops *o);
void auth_used(struct auth *a, const char *id);
size_t auth_count(const struct auth *a);
void auth_fill_routes(const struct auth *a, struct api_routes *r);

#endif

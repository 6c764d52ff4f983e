/* The table of routes and its matcher. */
#include "api/routes.h"

#include <string.h>

#define CHECK_POLICY(id, method, pattern, policy, summary)                                         \
    _Static_assert((policy) > POLICY_UNSET && (policy) < POLICY_COUNT,                             \
                   "route " #id " has no policy");
API_ROUTE_TABLE(CHECK_POLICY)
#undef CHECK_POLICY

const struct api_route_row API_ROUTES[ROUTE_COUNT] = {
#define ROW(id, method, pattern, policy, summary)                                                  \
    [ROUTE_##id] = {ROUTE_##id, method, pattern, policy, summary},
    API_ROUTE_TABLE(ROW)
#undef ROW
};

const char *api_policy_name(enum api_policy p)
{
    static const char *const NAMES[] = {"unset", "public", "token", "admin", "gateway", "worker"};
    _Static_assert(sizeof NAMES / sizeof *NAMES == POLICY_COUNT, "one name per policy");
    return (unsigned)p < POLICY_COUNT ? NAMES[p] : NAMES[0];
}

/* A parameter takes at least one byte, up to a slash. */
static bool match(const char *pattern, struct str path, struct str *params)
{
    size_t n_params = 0, i = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (i >= path.n || path.p[i] != *pattern)
                return false;
            pattern++, i++;
            continue;
        }
        size_t from = i;
        while (i < path.n && path.p[i] != '/')
            i++;
        if (i == from || n_params == API_ROUTE_PARAMS)
            return false;
        params[n_params++] = (struct str){path.p + from, i - from};
        pattern = strchr(pattern, '}') + 1;
    }
    return i == path.n;
}

struct api_match api_route_match(struct str method, struct str path)
{
    struct api_match m = {0};
    for (size_t i = 0; i < ROUTE_COUNT && !m.row; i++) {
        struct str params[API_ROUTE_PARAMS] = {{0}};
        if (!match(API_ROUTES[i].pattern, path, params))
            continue;
        m.path_known = true;
        if (!str_eq(method, str_of(API_ROUTES[i].method)))
            continue;
        m.row = &API_ROUTES[i];
        memcpy(m.params, params, sizeof params);
    }
    return m;
}

/* Inside of a member: what its life (member.c) and its actions (member_act.c) share. I/O; the
 * worker's loop. */
#ifndef WORKER_MEMBER_INT_H
#define WORKER_MEMBER_INT_H

#include "engine/engine.h"
#include "worker/child.h"
#include "worker/filecheck.h"
#include "worker/measure.h"
#include "worker/member.h"
#include "worker/probe.h"

enum state { NEW, FETCH, RPC, UP, LOAD, PROVE, READY, ENDING, ENDED, STATE_COUNT };
enum event { EV_BEGIN, EV_FILE_OK, EV_LISTENS, EV_PEERS_UP, EV_LOADED, EV_TOKEN };

struct member {
    struct member_env env;
    struct api_task task;
    const struct engine_driver *driver;
    struct engine_site site;
    enum state state;
    struct child *main, *rpc;
    struct filecheck *check;
    struct probe *probe;
    struct tunnel_port **tunnels;
    uint16_t *peer_ports;
    uint32_t n_tunnels;
    struct loop_timer *deadline, *tick, *soon; /* soon: a short wait within a state */
    struct measure measure;
    struct err why;  /* of a failure */
    struct err said; /* by the engine: the first error line of the process at fault */
    bool stop;
    uint32_t percent, ticks;
    uint64_t rss, rss_reported, load_ms, first_token_ms;
    double tok_s;
    int64_t main_started, ending_since;
};

/* member.c */
void member_fire(struct member *m, enum event ev); /* no row for it in this state: nothing */
void member_fail(struct member *m, const struct err *why);
void member_settle_end(struct member *m); /* goes on with the end after a process has gone */
bool member_is_main(const struct member *m);
void member_changed(struct member *m, bool state);
void member_wait(struct member *m, int64_t ms, loop_timer_fn fn); /* on `soon` */

/* member_act.c: the actions of the table; -1 with err fails the member. */
int member_act_begin(struct member *m, struct err *err);
int member_act_rpc(struct member *m, struct err *err);
int member_act_up(struct member *m, struct err *err);
int member_act_load(struct member *m, struct err *err);

#endif

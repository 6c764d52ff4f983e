/* Inside of the llama.cpp driver: what its two files share. Pure. */
#ifndef ENGINE_LLAMACPP_H
#define ENGINE_LLAMACPP_H

#include "engine/engine.h"

/* llamacpp_log.c: one line of llama-server or rpc-server output. */
bool llamacpp_read_line(const char *line, struct engine_fact *fact);

#endif

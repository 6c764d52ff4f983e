/* What one line of llama.cpp output says. The lines are those of llama.cpp 0.7.0 (b11669) at -lv 4,
 * found by running it into each fault; a line that is not recognised says nothing, which is never
 * wrong. */
#include "engine/llamacpp.h"

#include "base/mem.h"
#include "base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The word that ends at `end` (spaces before `end` are skipped). */
static bool word_before(const char *line, const char *end, char *dst, size_t cap)
{
    while (end > line && end[-1] == ' ')
        end--;
    const char *p = end;
    while (p > line && p[-1] != ' ')
        p--;
    size_t n = (size_t)(end - p);
    if (n == 0 || n >= cap)
        return false;
    memcpy(dst, p, n);
    dst[n] = '\0';
    return true;
}

/* "<device> model buffer size =   123.45 MiB" */
static bool read_buffer(const char *line, struct engine_fact *f)
{
    static const struct {
        const char *text;
        enum engine_fact_kind kind;
    } KINDS[] = {
        {" model buffer size = ", ENGINE_WEIGHTS},
        {" KV buffer size = ", ENGINE_KV},
        {" RS buffer size = ", ENGINE_KV}, /* recurrent state */
        {" compute buffer size = ", ENGINE_COMPUTE},
    };
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        const char *at = strstr(line, KINDS[i].text);
        if (!at)
            continue;
        char *end;
        double mib = strtod(at + strlen(KINDS[i].text), &end);
        if (strncmp(end, " MiB", 4) != 0 || !(mib >= 0 && mib < 1e9) ||
            !word_before(line, at, f->device, sizeof f->device))
            return false;
        f->kind = KINDS[i].kind;
        f->bytes = (uint64_t)llround(mib * 1048576.0);
        return true;
    }
    return false;
}

/* "load_tensors: layer   3 assigned to device RPC2, is_swa = 0" */
static bool read_layer(const char *line, struct engine_fact *f)
{
    const char *at = strstr(line, "layer ");
    unsigned layer;
    char device[48];
    if (!at || sscanf(at, "layer %u assigned to device %47[^, ]", &layer, device) != 2)
        return false;
    f->kind = ENGINE_LAYER;
    f->layer = layer;
    STR_COPY(f->device, device);
    return true;
}

struct fault {
    const char *text; /* what the line contains */
    enum err_code code;
    const char *sentence;
    const char *device_end; /* the device's name stands between `text` and this; NULL: no device */
    bool rest;              /* the line's rest after `text` is added to the sentence */
};

/* The first row that matches wins, so the particular stand before the general. */
static const struct fault FAULTS[] = {
    {"couldn't bind HTTP server socket", ERR_CONFLICT, "its port is taken by another program", NULL,
     0},
    {"Failed to create server socket", ERR_CONFLICT, "its port is taken by another program", NULL,
     0},
    {"unable to allocate ", ERR_LIMIT, "no memory for the weights", " buffer", 0},
    {"failed to allocate buffer for kv cache", ERR_LIMIT, "no memory for the KV cache", NULL, 0},
    {"failed to allocate buffer for rs cache", ERR_LIMIT, "no memory for the recurrent state", NULL,
     0},
    {"context: failed to allocate compute", ERR_LIMIT, "no memory for the compute buffers", NULL,
     0},
    {"std::bad_alloc", ERR_LIMIT, "out of RAM", NULL, 0},
    {"CUDA error: out of memory", ERR_LIMIT, "out of GPU memory", NULL, 0},
    {"ErrorOutOfDeviceMemory", ERR_LIMIT, "out of GPU memory", NULL, 0},
    {"CUDA error: ", ERR_IO, "the GPU failed", NULL, 1},
    {"Failed to connect to ", ERR_UNREACHABLE, "no connection to a member's rpc-server", NULL, 1},
    {"Remote RPC server crashed", ERR_UNREACHABLE, "the connection to a member's rpc-server broke",
     NULL, 0},
    {"input configs, but system only has", ERR_UNSUPPORTED, "it cannot span so many devices", NULL,
     0},
    {"error: invalid argument", ERR_UNSUPPORTED, "this version does not know an option", NULL, 1},
    {"error: unknown device", ERR_NOT_FOUND, "it does not see a planned device", NULL, 1},
    {"invalid device: ", ERR_NOT_FOUND, "it does not see a planned device", NULL, 1},
    {"data is not within the file bounds", ERR_CORRUPT, "the model file is incomplete", NULL, 0},
    {"invalid magic characters", ERR_CORRUPT, "the model is no GGUF file", NULL, 0},
    {"gguf_init_from_reader: ", ERR_CORRUPT, "the model's header is damaged", NULL, 1},
    {"gguf_init_from_file_impl: ", ERR_CORRUPT, "the model's header is damaged", NULL, 1},
    {"unknown model architecture", ERR_UNSUPPORTED, "this version does not know the architecture",
     NULL, 1},
    {"error loading model: ", ERR_CORRUPT, "it cannot load the model", NULL, 1},
    {"failed to initialize the context: ", ERR_UNSUPPORTED, "it cannot make the context", NULL, 1},
    {"GGML_ASSERT(", ERR_INTERNAL, "it stopped at an assertion", NULL, 1},
};

static void fill_device(const struct fault *t, const char *rest, struct engine_fact *f)
{
    const char *end = t->device_end ? strstr(rest, t->device_end) : NULL;
    size_t n = end ? (size_t)(end - rest) : 0;
    if (n == 0 || n >= sizeof f->device)
        return;
    memcpy(f->device, rest, n);
    f->device[n] = '\0';
}

static bool read_fault(const char *line, struct engine_fact *f)
{
    for (size_t i = 0; i < ARRAY_LEN(FAULTS); i++) {
        const struct fault *t = &FAULTS[i];
        const char *at = strstr(line, t->text);
        if (!at)
            continue;
        const char *rest = at + strlen(t->text);
        f->kind = ENGINE_ERROR;
        f->code = t->code;
        rest += strspn(rest, ": ");
        fill_device(t, rest, f);
        str_copyf(f->text, sizeof f->text, t->rest && *rest ? "%s (%.100s)" : "%s", t->sentence,
                  rest);
        return true;
    }
    return false;
}

bool llamacpp_read_line(const char *line, struct engine_fact *fact)
{
    struct engine_fact f = {0};
    bool said = true;
    if (read_buffer(line, &f) || read_layer(line, &f) || read_fault(line, &f))
        ;
    else if (strstr(line, "transport      : "))
        f.kind = ENGINE_LISTENING; /* the last line that an rpc-server prints before it listens */
    else
        said = false;
    if (said)
        *fact = f;
    return said;
}

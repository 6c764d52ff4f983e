#include "gguf/gguf.h"
const struct gguf_type_info *gguf_type(uint32_t id) { return NULL; }
struct gguf *gguf_open(const struct gguf_source *src, struct err *err) { return err_null(err, ERR_UNSUPPORTED, "not built yet"); }
int gguf_add_shard(struct gguf *g, const struct gguf_source *src, struct err *err) { return err_set(err, ERR_UNSUPPORTED, "not built yet"); }
int gguf_complete(const struct gguf *g, struct err *err) { return 0; }
void gguf_free(struct gguf *g) { }
bool gguf_split_name(const char *path, uint32_t *no, uint32_t *count) { return false; }
void gguf_shard_name(const char *path, uint32_t no, char *dst, size_t cap) { }
uint32_t gguf_version(const struct gguf *g) { return 0; }
uint32_t gguf_n_kv(const struct gguf *g) { return 0; }
uint32_t gguf_n_tensors(const struct gguf *g) { return 0; }
const struct gguf_tensor *gguf_tensor(const struct gguf *g, uint32_t i) { return NULL; }
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name) { return NULL; }
uint32_t gguf_n_shards(const struct gguf *g) { return 1; }
uint64_t gguf_data_offset(const struct gguf *g) { return 0; }
uint64_t gguf_tensor_bytes(const struct gguf *g) { return 0; }
uint64_t gguf_file_bytes(const struct gguf *g) { return 0; }
bool gguf_get_u64(const struct gguf *g, const char *key, uint64_t *out) { return false; }
bool gguf_get_f64(const struct gguf *g, const char *key, double *out) { return false; }
bool gguf_get_bool(const struct gguf *g, const char *key, bool *out) { return false; }
bool gguf_get_str(const struct gguf *g, const char *key, struct str *out) { return false; }
bool gguf_get_array(const struct gguf *g, const char *key, enum gguf_value_type *elem, uint64_t *n) { return false; }
bool gguf_get_array_u64(const struct gguf *g, const char *key, uint64_t i, uint64_t *out) { return false; }

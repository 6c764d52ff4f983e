#include "estimate/estimate.h"
const char *kv_type_name(enum kv_type t) { return "f16"; }
int kv_type_parse(const char *name, enum kv_type *out, struct err *err) { return err_set(err, ERR_UNSUPPORTED, "not built yet"); }
struct estimate_model *estimate_new(const struct arch_facts *facts, const struct estimate_opts *opts, struct err *err) { return err_null(err, ERR_UNSUPPORTED, "not built yet"); }
void estimate_free(struct estimate_model *m) { }
void estimate_split_bytes(const struct estimate_model *m, const struct estimate_split *split, struct estimate_bytes *out, struct estimate_bytes *host) { }
void estimate_engine_layers(uint32_t n_blocks, uint32_t n_devices, const double *shares, int64_t ngl, int *out) { }
double estimate_token_seconds(const struct estimate_model *m, const struct estimate_split *split, const struct estimate_device_speed *devices, const struct estimate_device_speed *host_cpu) { return 0; }

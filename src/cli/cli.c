/* The subcommand table. */
#include "cli/cli.h"

/* clang-format off */
const struct cli_command CLI_COMMANDS[] = {
    {"deploy", "place and start a model", cmd_deploy},
    {"ps", "the models that run", cmd_ps},
    {"nodes", "the nodes", cmd_nodes},
    {"gpus", "the GPUs and what is on them", cmd_gpus},
    {"chat", "ask a model", cmd_chat},
    {"logs", "what the engines of a model say", cmd_logs},
    {"explain", "why a model is where it is", cmd_explain},
    {"scale", "set the number of replicas", cmd_scale},
    {"rm", "stop a model and forget it", cmd_rm},
    {"wait", "wait until a model answers, or is gone", cmd_wait},
    {"drain", "place nothing new on a node", cmd_drain},
    {"undrain", "let a node take new work again", cmd_undrain},
    {"label", "set labels of a node, for --labels", cmd_label},
    {"key", "create, list and revoke API keys", cmd_key},
    {"token", "create a token with which a node joins", cmd_token},
    {"snapshot", "the cluster as a file for `plan -f`", cmd_snapshot},
    {"inspect", "show what a model file holds and the memory it takes", cmd_inspect},
    {"plan", "show where models would go, and why", cmd_plan},
    {"whatif", "plan before and after a change of the cluster", cmd_whatif},
    {"size", "what to buy so that a model fits", cmd_size},
    {"defrag", "the moves that make room for a model", cmd_defrag},
    {"apply", "make what a file lists run, or deploy a saved plan", cmd_apply},
    {"engine", "install or list inference engines", cmd_engine},
    {"demo-model", "write a tiny model of random weights, for trying things out", cmd_demo_model},
    {0},
};
/* clang-format on */

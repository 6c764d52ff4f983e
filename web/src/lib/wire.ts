// The documents of /api/v1/events as docs/api.md describes them. Everything a server of another version
// may leave out is optional; nothing here is trusted to be a number before it is used as one.

export interface Device {
  uuid: string;
  index: number;
  name: string;
  backend?: string;
  total_bytes: number;
  free_bytes: number;
  claimed_bytes?: number;
  bandwidth_bytes_per_s?: number;
  util_percent?: number;
  temp_c?: number;
  power_w?: number;
}

export interface Node {
  id: string;
  name: string;
  addr?: string;
  state: string;
  reason?: string;
  version?: string;
  engine?: string;
  ram_bytes: number;
  ram_free_bytes: number;
  n_cpus?: number;
  seen_ms?: number;
  devices: Device[];
}

export interface Part {
  node_id: string;
  node: string;
  uuid: string; // "" is the node's RAM
  index: number;
  device_name?: string;
  backend?: string;
  first_layer: number;
  n_layers: number;
  output?: boolean;
  weights_bytes: number;
  kv_bytes: number;
  compute_bytes: number;
  runtime_bytes: number;
}

export interface Assignment {
  plan_id?: string;
  engine?: string;
  main_id: string;
  main_node: string;
  n_layers: number;
  n_cpu_layers?: number;
  n_cpu_moe?: number;
  ctx: number;
  n_slots: number;
  kv?: string;
  host_weights_bytes?: number;
  host_kv_bytes?: number;
  host_compute_bytes?: number;
  tok_s?: number;
  parts: Part[];
}

export interface Measured {
  part?: number;
  weights_bytes?: number;
  kv_bytes?: number;
  compute_bytes?: number;
}

export interface Member {
  node_id: string;
  node?: string;
  role?: string;
  state?: string;
  percent?: number;
  message?: string;
}

export interface Replica {
  id: string;
  deployment: string;
  name?: string;
  index: number;
  generation?: number;
  state: string;
  reason?: { code?: string; message?: string } | null;
  since_ms?: number;
  restarts?: number;
  backoff_ms?: number;
  ctx?: number;
  n_slots?: number;
  assignment?: Assignment | null;
  members?: Member[];
  measured?: Measured[];
  host_measured?: Measured | null;
  tok_s?: number;
  requests?: number;
}

export interface Deployment {
  id?: string;
  name: string;
  revision?: number;
  spec?: { model?: string; replicas?: number; ctx?: number; n_slots?: number; kv?: string };
  model?: Record<string, unknown>;
}

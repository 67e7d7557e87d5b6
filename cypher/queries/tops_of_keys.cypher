// tops_of_keys
// The top tokens of the memory keys that every head's last query meets, prompt by prompt.
//
// What figures 19 and 20 compare with values and queries: through the QK circuit, and without it where the prompts were
// ingested with the lens `naive`.
// A row for every key of every prompt: over a thousand prompts ask for one layer at a time, or for few prompts; the rows
// of all layers fill the database's memory (`FLOWATLAS_LADYBUG_BUFFER_MB`).
//
// topic: alignment
// parameters:
//   layer: layer? = all, 0.. - only this layer
// columns:
//   prompt - id of the prompt
//   layer - layer of the head
//   head - the head
//   source - position that the key remembers
//   rank - 1 = the key with the most attention
//   top_ids - ids of its 50 top tokens through the QK circuit
//   naive_top_ids - ids of its 50 top tokens without it
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (q:Query)-[r:ATTENDS]->(k:Key)
WHERE q.prompt = p.id AND q.position = p.n_tokens - 1 /* if layer: AND q.layer = $layer */
RETURN p.id AS prompt, k.layer AS layer, k.head AS head, k.source AS source, r.rank AS rank, k.top_ids AS top_ids,
  k.naive_top_ids AS naive_top_ids
ORDER BY prompt, layer, head, source

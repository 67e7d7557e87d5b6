// tops_of_values
// The top tokens of the memory values of every head at the last position, prompt by prompt.
//
// What figures 5 and 16 to 19 are computed from.
// A row for every value of every prompt: over a thousand prompts ask for one layer at a time, or for few prompts; the rows
// of all layers fill the database's memory (`FLOWATLAS_LADYBUG_BUFFER_MB`).
//
// topic: alignment
// parameters:
//   layer: layer? = all, 0.. - only this layer
//   values: int? = all, 1.. - memory values a head, the best by attention
// columns:
//   prompt - id of the prompt
//   layer - layer of the head
//   head - the head
//   source - position that the value remembers
//   rank - 1 = the value with the most attention
//   norm - norm of its part of what the head writes
//   source_prob - probability of the token at that position
//   top_ids - ids of its 50 top tokens through W_O
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (v:Value)-[r:SUMS]->(h:Head)
WHERE h.prompt = p.id AND h.position = p.n_tokens - 1
  /* if layer: AND h.layer = $layer */ /* if values: AND r.rank <= $values */
RETURN p.id AS prompt, h.layer AS layer, h.head AS head, v.source AS source, r.rank AS rank, r.norm AS norm,
  v.source_prob AS source_prob, v.top_ids AS top_ids
ORDER BY prompt, layer, head, source

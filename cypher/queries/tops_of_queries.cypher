// tops_of_queries
// The top tokens of every head's query at the last position, prompt by prompt.
//
// What figure 20 compares with the keys: through the QK circuit, and without it where the prompts were ingested with
// the lens `naive`.
//
// topic: alignment
// parameters:
//   layer: layer? = all, 0.. - only this layer
// columns:
//   prompt - id of the prompt
//   layer - layer of the head
//   head - the head
//   top_ids - ids of its 50 top tokens through the QK circuit
//   naive_top_ids - ids of its 50 top tokens without it
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (q:Query) WHERE q.prompt = p.id AND q.position = p.n_tokens - 1 /* if layer: AND q.layer = $layer */
RETURN p.id AS prompt, q.layer AS layer, q.head AS head, q.top_ids AS top_ids, q.naive_top_ids AS naive_top_ids
ORDER BY prompt, layer, head

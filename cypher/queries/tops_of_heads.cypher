// tops_of_heads
// The top tokens of every head at the last position, prompt by prompt, with what it writes and its direct effect.
//
// What figures 2, 3 and 6a are computed from. Ranked by `norm` the heads of a layer are those of section 3.2.
//
// topic: alignment
// parameters:
//   layer: layer? = all, 0.. - only this layer
// columns:
//   prompt - id of the prompt
//   layer - layer of the head
//   head - the head
//   norm - norm of what it writes (head * W_O)
//   contribution - direct effect on the target's logit
//   foil_contribution - direct effect on the foil's logit
//   target_rank - rank of the target in its projection
//   top_token - the first of its top tokens
//   top_ids - ids of its 50 top tokens through W_O
//   naive_top_ids - ids of its 50 top tokens without W_O, where the prompts were ingested with the lens `naive`
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (h:Head)-[c:CONCATENATES]->(o:State)
WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 /* if layer: AND h.layer = $layer */
RETURN p.id AS prompt, h.layer AS layer, h.head AS head, c.score AS norm, c.contribution AS contribution,
  c.foil_contribution AS foil_contribution, h.target_rank AS target_rank, h.top_token AS top_token,
  h.top_ids AS top_ids, h.naive_top_ids AS naive_top_ids
ORDER BY prompt, layer, head

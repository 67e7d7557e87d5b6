// top_memory_values
// The memory values of a prompt that its heads recall most, with the token that each comes from.
//
// Section 3.3: the values with the highest attention carry the meaning of their head.
//
// topic: memories
// parameters:
//   prompt: prompt - the prompt
//   values: int = 2, 1.. - values a head, the best by attention
//   layer: layer? = all, 0.. - only this layer
//   head: head? = all, 0.. - only this head
//   limit: int = 1000, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   rank - 1 = the value with the most attention
//   source - position of the source token
//   token - text of the source token
//   attention - attention probability
//   norm - norm of what the value adds to the head's output
//   contribution - direct effect on the target's logit
//   target_rank - rank of the target in its projection
//   target_prob - probability of the target in its projection
//   top_tokens - the ten top tokens of the value
//   head_token - top token of the head
MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (v:Value)-[r:SUMS]->(h:Head)
WHERE h.id >= $prompt * 16777216 AND h.id < ($prompt + 1) * 16777216 AND h.position = p.n_tokens - 1
  AND r.rank <= $values /* if layer: AND h.layer = $layer */ /* if head: AND h.head = $head */
MATCH (t:Token) WHERE t.id = $prompt * 16777216 + v.source
RETURN h.layer AS layer, h.head AS head, r.rank AS rank, v.source AS source, t.text AS token, r.score AS attention,
  r.norm AS norm, r.contribution AS contribution, v.target_rank AS target_rank, v.target_prob AS target_prob,
  v.top_tokens AS top_tokens, h.top_token AS head_token
ORDER BY layer, head, rank LIMIT $limit

// attention_pattern
// What a head attends to in one prompt, and what it recalls from there.
//
// topic: memories
// parameters:
//   prompt: prompt - the prompt
//   layer: layer - layer of the head
//   head: head - the head
// columns:
//   source - position of the source token
//   token - its text
//   attention - attention probability
//   rank - 1 = the largest
//   logit - attention score before the softmax
//   norm - norm of what its value adds to the head's output
//   contribution - direct effect on the target's logit
//   key_tokens - top tokens of the memory key
//   value_tokens - top tokens of the memory value
//   target_rank - rank of the target in the value's projection
MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (q:Query)-[a:ATTENDS]->(k:Key)
WHERE q.id >= $prompt * 16777216 AND q.id < ($prompt + 1) * 16777216 AND q.layer = $layer AND q.head = $head
  AND q.position = p.n_tokens - 1
MATCH (v:Value)-[r:SUMS]->(h:Head)
WHERE h.id >= $prompt * 16777216 AND h.id < ($prompt + 1) * 16777216 AND h.layer = $layer AND h.head = $head
  AND h.position = p.n_tokens - 1 AND v.source = k.source
MATCH (t:Token) WHERE t.id = $prompt * 16777216 + k.source
RETURN k.source AS source, t.text AS token, a.score AS attention, a.rank AS rank, a.logit AS logit, r.norm AS norm,
  r.contribution AS contribution, k.top_tokens AS key_tokens, v.top_tokens AS value_tokens, v.target_rank AS target_rank
ORDER BY source

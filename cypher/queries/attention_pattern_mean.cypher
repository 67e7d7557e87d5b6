// attention_pattern_mean
// The attention pattern of a head averaged over prompts, by position.
//
// topic: memories
// parameters:
//   layer: layer - layer of the head
//   head: head - the head
//   from_end: bool? = all - true: count positions from the end of the prompt (0 = the last token)
// columns:
//   position - position of the source token
//   prompts - prompts that have it
//   mean_attention - mean attention probability
//   top_share - share of these prompts in which it gets the most attention
//   mean_contribution - mean direct effect of its value on the target's logit
//   mean_norm - mean norm of what its value adds
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (v:Value)-[r:SUMS]->(h:Head)
WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 AND h.layer = $layer AND h.head = $head
WITH v.source /* if from_end: * CASE WHEN $from_end THEN 0 ELSE 1 END + CASE WHEN $from_end THEN p.n_tokens - 1 - v.source ELSE 0 END */ AS position, r
WITH position, count(r) AS prompts, avg(r.score) AS mean_attention, count(CASE WHEN r.rank = 1 THEN 1 END) AS first,
  avg(r.contribution) AS mean_contribution, avg(r.norm) AS mean_norm
RETURN position, prompts, mean_attention, 1.0 * first / prompts AS top_share, mean_contribution, mean_norm
ORDER BY position

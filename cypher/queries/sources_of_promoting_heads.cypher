// sources_of_promoting_heads
// The source tokens that feed the heads which promote the target, over all prompts.
//
// A head that promotes the target reads it somewhere: its memory values, weighted by attention, come from input
// tokens (section 3.3). For each head: from which tokens its best memory comes when it promotes the target.
//
// topic: memories
// parameters:
//   rank: int = 10, 1.. - a head promotes the target when it is among so many top tokens
//   values: int = 1, 1.. - memory values a head, the best by attention
//   layer: layer? = all, 0.. - only this layer
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   token - text of the source token
//   prompts - prompts in which it feeds the head
//   mean_attention - mean attention that it gets
//   mean_contribution - mean direct effect of its value on the target's logit
//   mean_distance - mean number of tokens between it and the end of the prompt
//   target_on_top - prompts in which its value itself has the target among the top tokens
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (v:Value)-[r:SUMS]->(h:Head)
WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 AND h.target_rank <= $rank AND r.rank <= $values
  /* if layer: AND h.layer = $layer */
MATCH (t:Token) WHERE t.prompt = p.id AND t.position = v.source
RETURN h.layer AS layer, h.head AS head, t.text AS token, count(v) AS prompts, avg(r.score) AS mean_attention,
  avg(r.contribution) AS mean_contribution, avg(p.n_tokens - 1 - v.source) AS mean_distance,
  count(CASE WHEN v.target_rank <= $rank THEN 1 END) AS target_on_top
ORDER BY prompts DESC, layer, head, token LIMIT $limit

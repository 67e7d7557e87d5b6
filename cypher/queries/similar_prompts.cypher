// similar_prompts
// Prompts whose targets are promoted by the same heads as those of one prompt.
//
// topic: comparison
// parameters:
//   prompt: prompt - the prompt
//   rank: int = 10, 1.. - a head promotes the target when it is among so many top tokens
//   limit: int = 20, 1.. - rows
// columns:
//   prompt - id of the other prompt
//   similarity - shared heads by all heads of both (Jaccard)
//   shared - heads that promote the target in both
//   heads - heads that do in this prompt
//   target - its target
//   text - the prompt
MATCH (o:Prompt) WHERE o.id = $prompt
MATCH (h:Head)
WHERE h.id >= $prompt * 16777216 AND h.id < ($prompt + 1) * 16777216 AND h.position = o.n_tokens - 1 AND h.target_rank <= $rank
WITH o.model AS model, collect(h.layer * 4096 + h.head) AS own
MATCH (p:Prompt) WHERE p.complete AND p.model = model AND p.id <> $prompt /* selection of p */
MATCH (h:Head) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 AND h.target_rank <= $rank
WITH p.id AS prompt, p.target AS target, p.text AS text, size(own) AS mine, count(h) AS heads,
  count(CASE WHEN (h.layer * 4096 + h.head) IN own THEN 1 END) AS shared
WHERE shared > 0
RETURN prompt, 1.0 * shared / (mine + heads - shared) AS similarity, shared, heads, target, text
ORDER BY similarity DESC, prompt LIMIT $limit

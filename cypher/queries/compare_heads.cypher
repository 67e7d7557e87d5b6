// compare_heads
// The heads of two prompts: whose direct effect on the target's logit differs most.
//
// topic: comparison
// parameters:
//   a: prompt - the first prompt
//   b: prompt - the second prompt
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   contribution_a - direct effect on the target's logit in the first prompt
//   contribution_b - in the second
//   change - the second less the first
//   rank_a - rank of the target in the first
//   rank_b - rank of the target in the second
//   top_a - top token in the first
//   top_b - top token in the second
MATCH (p:Prompt) WHERE p.id IN [$a, $b]
MATCH (h:Head)-[c:CONCATENATES]->(o:State) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1
WITH h.layer AS layer, h.head AS head,
  max(CASE WHEN p.id = $a THEN c.contribution END) AS contribution_a,
  max(CASE WHEN p.id = $b THEN c.contribution END) AS contribution_b,
  max(CASE WHEN p.id = $a THEN h.target_rank END) AS rank_a, max(CASE WHEN p.id = $b THEN h.target_rank END) AS rank_b,
  max(CASE WHEN p.id = $a THEN h.top_token END) AS top_a, max(CASE WHEN p.id = $b THEN h.top_token END) AS top_b
WHERE rank_a IS NOT NULL AND rank_b IS NOT NULL
RETURN layer, head, contribution_a, contribution_b, contribution_b - contribution_a AS change, rank_a, rank_b, top_a, top_b
ORDER BY abs(contribution_b - contribution_a) DESC, layer, head LIMIT $limit

// shared_heads
// Heads that promote the target in most prompts of two groups.
//
// topic: comparison
// parameters:
//   a: selection - the first group
//   b: selection - the second group
//   rank: int = 10, 1.. - a head promotes the target when it is among so many top tokens
//   share: float = 0.5, 0..1 - least share of the prompts of each group
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   share_a - share of the first group's prompts in which it promotes the target
//   share_b - share of the second's
//   prompts_a - prompts of the first group
//   prompts_b - prompts of the second
MATCH (p:Prompt) WHERE p.complete /* selection a of p */
MATCH (h:Head) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1
WITH h.layer AS layer, h.head AS head, count(h) AS prompts_a, count(CASE WHEN h.target_rank <= $rank THEN 1 END) AS promoted_a
WHERE promoted_a >= $share * prompts_a AND promoted_a > 0
MATCH (p:Prompt) WHERE p.complete /* selection b of p */
MATCH (h:Head) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 AND h.layer = layer AND h.head = head
WITH layer, head, prompts_a, promoted_a, count(h) AS prompts_b, count(CASE WHEN h.target_rank <= $rank THEN 1 END) AS promoted_b
WHERE promoted_b >= $share * prompts_b AND promoted_b > 0
RETURN layer, head, 1.0 * promoted_a / prompts_a AS share_a, 1.0 * promoted_b / prompts_b AS share_b, prompts_a, prompts_b
ORDER BY layer, head LIMIT $limit

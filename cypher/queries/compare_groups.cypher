// compare_groups
// Two groups of prompts, head by head: how often each promotes the target, and its mean direct effect.
//
// topic: comparison
// parameters:
//   a: selection - the first group, such as group=first or dataset=facts,correct=true
//   b: selection - the second group
//   rank: int = 10, 1.. - a head promotes the target when it is among so many top tokens
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   share_a - share of the first group's prompts in which it promotes the target
//   share_b - share of the second's
//   contribution_a - mean direct effect on the target's logit in the first group
//   contribution_b - in the second
//   change - mean direct effect in the second less that in the first
//   prompts_a - prompts of the first group
//   prompts_b - prompts of the second
MATCH (p:Prompt) WHERE p.complete /* selection a of p */
MATCH (h:Head)-[c:CONCATENATES]->(o:State) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1
WITH h.layer AS layer, h.head AS head, count(h) AS prompts_a,
  count(CASE WHEN h.target_rank <= $rank THEN 1 END) AS promoted_a, avg(c.contribution) AS contribution_a
MATCH (p:Prompt) WHERE p.complete /* selection b of p */
MATCH (h:Head)-[c:CONCATENATES]->(o:State)
WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 AND h.layer = layer AND h.head = head
WITH layer, head, prompts_a, promoted_a, contribution_a, count(h) AS prompts_b,
  count(CASE WHEN h.target_rank <= $rank THEN 1 END) AS promoted_b, avg(c.contribution) AS contribution_b
RETURN layer, head, 1.0 * promoted_a / prompts_a AS share_a, 1.0 * promoted_b / prompts_b AS share_b,
  contribution_a, contribution_b, contribution_b - contribution_a AS change, prompts_a, prompts_b
ORDER BY abs(contribution_b - contribution_a) DESC, layer, head LIMIT $limit

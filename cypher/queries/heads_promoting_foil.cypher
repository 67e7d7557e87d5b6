// heads_promoting_foil
// Heads by the share of prompts in which they have the foil among their top tokens, with the target's share beside.
//
// What to look at when a model is undecided between two answers: who argues for the wrong one. Only prompts with a
// foil count. `p_value` is that of an exact one-sided sign test over the prompts in which the head promotes one of
// foil and target but not the other.
//
// topic: heads
// parameters:
//   rank: int = 10, 1.. - among how many top tokens
//   share: float = 0, 0..1 - least share of prompts (1: always)
//   limit: int = 20, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   share - share of the prompts in which it promotes the foil
//   target_share - the same share for the target
//   p_value - how likely it is by chance to promote the foil so much more often than the target (added after the query)
//   mean_prob - mean probability of the foil in its projection
//   mean_contribution - mean direct effect on the foil's logit
//   prompts - prompts with a foil
//   only_foil - prompts in which it promotes the foil and not the target
//   only_target - prompts in which it promotes the target and not the foil
MATCH (p:Prompt) WHERE p.complete AND p.foil_id IS NOT NULL /* selection of p */
MATCH (h:Head)-[c:CONCATENATES]->(o:State) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1
WITH h.layer AS layer, h.head AS head, count(h) AS prompts, avg(h.foil_prob) AS mean_prob,
  avg(c.foil_contribution) AS mean_contribution,
  count(CASE WHEN h.foil_rank <= $rank THEN 1 END) AS promoted,
  count(CASE WHEN h.target_rank <= $rank THEN 1 END) AS target_promoted,
  count(CASE WHEN h.foil_rank <= $rank AND h.target_rank <= $rank THEN 1 END) AS both_promoted
WHERE promoted >= $share * prompts AND promoted > 0
RETURN layer, head, 1.0 * promoted / prompts AS share, prompts, mean_prob, mean_contribution,
  1.0 * target_promoted / prompts AS target_share,
  promoted - both_promoted AS only_foil, target_promoted - both_promoted AS only_target
ORDER BY share DESC, mean_prob DESC, layer, head LIMIT $limit

// heads_always_demoting_target
// Heads by the share of prompts in which the target is among their very last tokens; those that always do come first.
//
// The negative name mover heads of section 5.1: the head gives the target its lowest possible ranks. By chance a head
// would do so in a share `bottom` of the prompts; `p_value` is the exact binomial probability of at least as many.
// The control is the foil: a head that demotes target and foil alike does not single out the target. (The target of a
// random other prompt cannot be the control here: a vector keeps the ranks of its own target and foil, and of other
// tokens only whether they are among its first fifty.)
//
// topic: heads
// parameters:
//   bottom: float = 0.05, 0..0.5 - the last part of the vocabulary that counts
//   share: float = 0, 0..1 - least share of prompts (1: always)
//   limit: int = 20, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   share - share of the prompts in which it demotes the target
//   control_share - the share expected by chance
//   foil_share - the same share for the foil, over the prompts that have one
//   p_value - how likely at least so many are by chance (added after the query)
//   mean_rank - mean rank of the target
//   mean_prob - mean probability of the target in its projection
//   mean_contribution - mean direct effect on the target's logit
//   prompts - prompts looked at
//   demoted - prompts in which it demotes the target
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (m:Model) WHERE m.id = p.model
WITH p.id AS prompt, p.n_tokens - 1 AS last, m.vocab_size * (1.0 - $bottom) AS floor
MATCH (h:Head)-[c:CONCATENATES]->(o:State) WHERE h.prompt = prompt AND h.position = last
WITH h.layer AS layer, h.head AS head, count(h) AS prompts, avg(h.target_prob) AS mean_prob,
  avg(h.target_rank) AS mean_rank, avg(c.contribution) AS mean_contribution,
  count(CASE WHEN h.target_rank > floor THEN 1 END) AS demoted,
  count(h.foil_rank) AS foils, count(CASE WHEN h.foil_rank > floor THEN 1 END) AS foil_demoted
WHERE demoted >= $share * prompts AND demoted > 0
RETURN layer, head, 1.0 * demoted / prompts AS share, prompts, mean_prob, mean_rank, mean_contribution,
  CASE WHEN foils > 0 THEN 1.0 * foil_demoted / foils END AS foil_share, 1.0 * $bottom AS control_share, demoted
ORDER BY share DESC, mean_contribution, layer, head LIMIT $limit

// heads_always_promoting_target
// Heads by the share of prompts in which they have the target among their top tokens; those that always do come first.
//
// A head promotes a token when the token is among the first of its output's projection (section 5.1: the name mover
// heads are those that project the name among their most probable tokens). Two controls say whether the head knows the
// answer or promotes such tokens anyway: the same share for the foil, and for the target of another prompt of the
// selection, drawn at random. `p_value` is that of an exact one-sided sign test over the prompts in which the head
// promotes one of target and control but not the other.
//
// topic: heads
// parameters:
//   rank: int = 10, 1..50 - among how many top tokens
//   share: float = 0, 0..1 - least share of prompts (1: always)
//   seed: int = 1, 0..10000 - chooses the other prompts of the control
//   limit: int = 20, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   share - share of the prompts in which it promotes the target
//   control_share - the same share for a random other prompt's target
//   foil_share - the same share for the foil, over the prompts that have one
//   p_value - how likely it is by chance to promote the target so much more often than the control (added after the query)
//   mean_prob - mean probability of the target in its projection
//   mean_contribution - mean direct effect on the target's logit
//   prompts - prompts looked at
//   only_target - prompts in which it promotes the target and not the control's
//   only_control - prompts in which it promotes the control's and not the target
MATCH (p:Prompt) WHERE p.complete /* selection of p */
OPTIONAL MATCH (q:Prompt) WHERE q.complete AND q.model = p.model AND q.target_id <> p.target_id /* selection of q */
WITH p.id AS prompt, p.n_tokens - 1 AS last,
  min((q.id * 48271 + p.id * 16807 + $seed * 69621) % 65537 * 4294967296 + q.target_id) % 4294967296 AS other
MATCH (h:Head)-[c:CONCATENATES]->(o:State) WHERE h.prompt = prompt AND h.position = last
WITH h, c, other, other IN (h.top_ids[..$rank]) AS beside
WITH h.layer AS layer, h.head AS head, count(h) AS prompts, avg(h.target_prob) AS mean_prob,
  avg(c.contribution) AS mean_contribution,
  count(CASE WHEN h.target_rank <= $rank THEN 1 END) AS promoted,
  count(h.foil_rank) AS foils, count(CASE WHEN h.foil_rank <= $rank THEN 1 END) AS foil_promoted,
  count(other) AS controls, count(CASE WHEN beside THEN 1 END) AS control_promoted,
  count(CASE WHEN h.target_rank <= $rank AND beside THEN 1 END) AS both_promoted
WHERE promoted >= $share * prompts AND promoted > 0
RETURN layer, head, 1.0 * promoted / prompts AS share, prompts, mean_prob, mean_contribution,
  CASE WHEN foils > 0 THEN 1.0 * foil_promoted / foils END AS foil_share,
  CASE WHEN controls > 0 THEN 1.0 * control_promoted / controls END AS control_share,
  promoted - both_promoted AS only_target, control_promoted - both_promoted AS only_control
ORDER BY share DESC, mean_prob DESC, layer, head LIMIT $limit

// top_heads_by_contribution
// Heads by their mean direct effect on the target's logit, largest first.
//
// The direct logit attribution of each head with the final norm's scale frozen, averaged over the prompts.
//
// topic: heads
// parameters:
//   layer: layer? = all, 0.. - only this layer
//   limit: int = 20, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   mean_contribution - mean direct effect on the target's logit
//   mean_absolute - mean of its absolute value
//   deviation - standard deviation over the prompts
//   positive_share - share of the prompts in which it is positive
//   mean_foil_contribution - mean direct effect on the foil's logit, where there is one
//   mean_norm - mean norm of what the head writes
//   prompts - prompts looked at
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (h:Head)-[c:CONCATENATES]->(o:State)
WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 /* if layer: AND h.layer = $layer */
WITH h.layer AS layer, h.head AS head, count(h) AS prompts, avg(c.contribution) AS mean_contribution,
  avg(abs(c.contribution)) AS mean_absolute, avg(1.0 * c.contribution * c.contribution) AS square,
  count(CASE WHEN c.contribution > 0 THEN 1 END) AS positive, avg(c.foil_contribution) AS mean_foil_contribution,
  avg(c.score) AS mean_norm
RETURN layer, head, mean_contribution, mean_absolute,
  sqrt(abs(square - mean_contribution * mean_contribution)) AS deviation,
  1.0 * positive / prompts AS positive_share, mean_foil_contribution, mean_norm, prompts
ORDER BY mean_contribution DESC, layer, head LIMIT $limit

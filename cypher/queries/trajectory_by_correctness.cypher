// trajectory_by_correctness
// The target's way through the layers, averaged over prompts that the model answers correctly and over the others.
//
// Figure 14 of appendix D.1: in correct answers the probability rises in the middle layers.
//
// topic: trajectory
// columns:
//   layer - layer (-1: the embedding, the number of layers: the final norm)
//   kind - which vector
//   correct - whether the model's prediction is the target
//   prompts - prompts
//   mean_target_prob - mean probability of the target
//   mean_log_rank - mean decimal logarithm of the target's rank (0 = first)
//   first_share - share of the prompts in which the target is first
//   mean_foil_prob - mean probability of the foil, where there is one
//   mean_entropy - mean entropy of the projection, bits
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (s:State)
WHERE s.prompt = p.id AND s.position = p.n_tokens - 1
  AND s.kind IN ['embedding', 'residual_mid', 'residual_post', 'final_norm']
WITH s.layer AS layer, s.kind AS kind, p.correct AS correct, count(s) AS prompts, avg(s.target_prob) AS mean_target_prob,
  avg(log10(s.target_rank)) AS mean_log_rank, count(CASE WHEN s.target_rank = 1 THEN 1 END) AS first,
  avg(s.foil_prob) AS mean_foil_prob, avg(s.entropy) AS mean_entropy
RETURN layer, kind, correct, prompts, mean_target_prob, mean_log_rank, 1.0 * first / prompts AS first_share,
  mean_foil_prob, mean_entropy
ORDER BY layer, kind, correct

// tops_of_states
// The top tokens of every residual, attention output and MLP output at the last position, prompt by prompt.
//
// What figures 2, 3, 14 and 15 compare: I_k of any two vectors is the share of ids that they have in common.
//
// topic: alignment
// columns:
//   prompt - id of the prompt
//   layer - layer (-1: the embedding)
//   kind - which vector
//   top_ids - ids of its 50 top tokens
//   top_probs - probabilities of the first ten
//   target_prob - probability of the target
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (s:State)
WHERE s.prompt = p.id AND s.position = p.n_tokens - 1
  AND s.kind IN ['embedding', 'attention_output', 'residual_mid', 'mlp_output', 'residual_post']
RETURN p.id AS prompt, s.layer AS layer, s.kind AS kind, s.top_ids AS top_ids, s.top_probs AS top_probs,
  s.target_prob AS target_prob
ORDER BY prompt, layer, kind

// norm_filter
// Tokens that enter and leave the top ten at each norm of one prompt.
//
// Section 5.2: the norm in front of a block acts as a filter that brings new tokens to the top. The norm itself is
// projected as it is.
//
// topic: norms
// parameters:
//   prompt: prompt - the prompt
// columns:
//   layer - layer of the norm (the number of layers: the final norm)
//   kind - which norm
//   entering - tokens among the top ten after it and not before
//   leaving - tokens among the top ten before it and not after
//   entropy_before - entropy of the projection before, bits
//   entropy_after - entropy of the projection after, bits
//   target_rank_before - rank of the target before
//   target_rank_after - rank of the target after
MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (a:State)-[:NORMALIZES]->(b:State)
WHERE a.id >= $prompt * 16777216 AND a.id < ($prompt + 1) * 16777216 AND a.position = p.n_tokens - 1
RETURN b.layer AS layer, b.kind AS kind,
  list_filter(b.top_tokens, x -> NOT list_contains(a.top_tokens, x)) AS entering,
  list_filter(a.top_tokens, x -> NOT list_contains(b.top_tokens, x)) AS leaving,
  a.entropy AS entropy_before, b.entropy AS entropy_after, a.target_rank AS target_rank_before,
  b.target_rank AS target_rank_after
ORDER BY layer, kind

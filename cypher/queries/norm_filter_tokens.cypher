// norm_filter_tokens
// The tokens that most often enter the top ten at a norm, over all prompts.
//
// Section 5.2 found content words to enter at the first norm of a block and function words to leave. (`leaving=true`
// lists the tokens that leave.)
//
// topic: norms
// parameters:
//   layer: layer? = all, 0.. - only this layer
//   kind: string = attention_norm, one of attention_norm | mlp_norm | final_norm - which norm
//   leaving: bool = false - tokens that leave instead
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the norm
//   kind - which norm
//   token - the token
//   prompts - prompts in which it enters (or leaves)
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (a:State)-[:NORMALIZES]->(b:State)
WHERE b.prompt = p.id AND b.position = p.n_tokens - 1 AND b.kind = $kind /* if layer: AND b.layer = $layer */
WITH b.layer AS layer, b.kind AS kind, CASE WHEN $leaving THEN a.top_tokens ELSE b.top_tokens END AS here,
  CASE WHEN $leaving THEN b.top_tokens ELSE a.top_tokens END AS there
UNWIND here AS token
WITH layer, kind, token, there WHERE NOT token IN there
RETURN layer, kind, token, count(*) AS prompts
ORDER BY prompts DESC, layer, token LIMIT $limit

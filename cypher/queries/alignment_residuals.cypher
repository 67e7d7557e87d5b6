// alignment_residuals
// How much the top tokens of the attention output overlap with those of the residuals around it (I_k), by layer.
//
// Figure 15 of D.2: the attention output against the residual after it, the block's output, the MLP's output, the
// residual before it (`block_before`) and the attention output before it (`attention_before`).
//
// topic: alignment
// parameters:
//   k: int? = all, 1..50 - how many top tokens are compared (all 50 that are stored)
// columns:
//   layer - layer of the attention output
//   compared - what it is compared with
//   overlap - mean I_k, 0 to 1
//   pairs - vectors compared
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (a:State) WHERE a.prompt = p.id AND a.position = p.n_tokens - 1 AND a.kind = 'attention_output'
MATCH (b:State)
WHERE b.prompt = p.id AND b.position = a.position AND b.layer >= a.layer - 1 AND b.layer <= a.layer
  AND ((b.layer = a.layer AND b.kind IN ['residual_mid', 'residual_post', 'mlp_output'])
    OR (b.layer = a.layer - 1 AND b.kind IN ['residual_post', 'embedding', 'attention_output']))
WITH a.layer AS layer, CASE WHEN b.layer = a.layer THEN b.kind
    WHEN b.kind = 'attention_output' THEN 'attention_before' ELSE 'block_before' END AS compared,
  a.top_ids/* if k: [..$k] */ AS one, b.top_ids/* if k: [..$k] */ AS other
UNWIND one AS id
WITH layer, compared, count(id) AS ids, count(CASE WHEN id IN other THEN 1 END) AS shared
RETURN layer, compared, 1.0 * shared / ids AS overlap, ids /* if k: / $k * 50 */ / 50 AS pairs
ORDER BY layer, compared

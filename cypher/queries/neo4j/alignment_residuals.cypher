MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (a:State) WHERE a.prompt = p.id AND a.position = p.n_tokens - 1 AND a.kind = 'attention_output'
MATCH (b:State)
WHERE b.prompt = p.id AND b.position = a.position AND b.layer >= a.layer - 1 AND b.layer <= a.layer
  AND ((b.layer = a.layer AND b.kind IN ['residual_mid', 'residual_post', 'mlp_output'])
    OR (b.layer = a.layer - 1 AND b.kind IN ['residual_post', 'embedding', 'attention_output']))
WITH a.layer AS layer, CASE WHEN b.layer = a.layer THEN b.kind
    WHEN b.kind = 'attention_output' THEN 'attention_before' ELSE 'block_before' END AS compared,
  a.top_ids/* if k: [..$k] */ AS one, b.top_ids/* if k: [..$k] */ AS other
WITH layer, compared, size([id IN one WHERE id IN other]) AS shared, size(one) AS ids
RETURN layer, compared, 1.0 * sum(shared) / sum(ids) AS overlap, count(*) AS pairs
ORDER BY layer, compared

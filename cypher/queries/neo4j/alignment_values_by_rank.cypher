MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (v:Value)-[r:SUMS]->(h:Head)
WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 AND r.rank <= $values /* if layer: AND h.layer = $layer */
WITH h.layer AS layer, r.rank AS rank, v.top_ids/* if k: [..$k] */ AS one, h.top_ids/* if k: [..$k] */ AS other
WITH layer, rank, size([id IN one WHERE id IN other]) AS shared, size(one) AS ids
RETURN layer, rank, 1.0 * sum(shared) / sum(ids) AS overlap, count(*) AS pairs
ORDER BY layer, rank

// alignment_values_by_rank
// How much the top tokens of memory values overlap with those of their head (I_k), by rank of attention.
//
// Section 3.3, figure 5, and figure 16 of D.2: the values with the most attention carry the meaning of their head.
//
// topic: alignment
// parameters:
//   values: int = 3, 1.. - memory values a head, the best by attention
//   layer: layer? = all, 0.. - only this layer
//   k: int? = all, 1..50 - how many top tokens are compared (all 50 that are stored)
// columns:
//   layer - layer of the head
//   rank - 1 = the value with the most attention
//   overlap - mean I_k, 0 to 1
//   pairs - vectors compared
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (v:Value)-[r:SUMS]->(h:Head)
WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 AND r.rank <= $values /* if layer: AND h.layer = $layer */
WITH h.layer AS layer, r.rank AS rank, v.top_ids/* if k: [..$k] */ AS one, h.top_ids/* if k: [..$k] */ AS other
UNWIND one AS id
WITH layer, rank, count(id) AS ids, count(CASE WHEN id IN other THEN 1 END) AS shared
RETURN layer, rank, 1.0 * shared / ids AS overlap, ids /* if k: / $k * 50 */ / 50 AS pairs
ORDER BY layer, rank

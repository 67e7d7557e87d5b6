// alignment_heads
// How much the top tokens of each head overlap with those of its attention output (I_k).
//
// Section 3.1, equation 3, figures 2 and 3: heads through their part of W_O.
//
// topic: alignment
// parameters:
//   layer: layer? = all, 0.. - only this layer
//   k: int? = all, 1..50 - how many top tokens are compared (all 50 that are stored)
// columns:
//   layer - layer of the head
//   head - the head
//   overlap - mean I_k, 0 to 1
//   pairs - vectors compared
MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (h:Head) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 /* if layer: AND h.layer = $layer */
MATCH (o:State)
WHERE o.prompt = p.id AND o.layer = h.layer AND o.position = h.position AND o.kind = 'attention_output'
WITH h.layer AS layer, h.head AS head, h.top_ids/* if k: [..$k] */ AS one, o.top_ids/* if k: [..$k] */ AS other
UNWIND one AS id
WITH layer, head, count(id) AS ids, count(CASE WHEN id IN other THEN 1 END) AS shared
RETURN layer, head, 1.0 * shared / ids AS overlap, ids /* if k: / $k * 50 */ / 50 AS pairs
ORDER BY layer, head

MATCH (p:Prompt) WHERE p.complete /* selection of p */
MATCH (h:Head) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1 /* if layer: AND h.layer = $layer */
MATCH (o:State)
WHERE o.prompt = p.id AND o.layer = h.layer AND o.position = h.position AND o.kind = 'attention_output'
WITH h.layer AS layer, h.head AS head, h.top_ids/* if k: [..$k] */ AS one, o.top_ids/* if k: [..$k] */ AS other
WITH layer, head, size([id IN one WHERE id IN other]) AS shared, size(one) AS ids
RETURN layer, head, 1.0 * sum(shared) / sum(ids) AS overlap, count(*) AS pairs
ORDER BY layer, head

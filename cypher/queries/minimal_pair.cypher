// minimal_pair
// What changed between the clean and the corrupted prompt of a minimal pair: heads, largest change first.
//
// Both effects are those on the clean prompt's target, as its logit would change if the head came from the corrupted
// prompt; where that token is neither the corrupted prompt's target nor its foil, the corrupted effect is that on its own
// target. A pair whose prompts have no roles takes the first stored as the clean one. For the whole flow of both graphs
// see `flowatlas compare`.
//
// topic: comparison
// parameters:
//   pair: string - name of the pair
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   clean - direct effect on the logit of the clean prompt's target, in the clean prompt
//   corrupted - in the corrupted prompt
//   change - the corrupted one less the clean one
//   clean_rank - rank of the clean prompt's target in the clean prompt
//   corrupted_rank - rank of the corrupted prompt's target in the corrupted prompt
//   clean_token - top token in the clean prompt
//   corrupted_token - in the corrupted prompt
MATCH (p:Prompt) WHERE p.complete AND p.pair = $pair
WITH p.pair AS pair, coalesce(min(CASE WHEN p.role = 'clean' THEN p.id END), min(p.id)) AS first,
  coalesce(max(CASE WHEN p.role = 'corrupted' THEN p.id END), max(p.id)) AS second
WHERE first <> second
MATCH (p:Prompt) WHERE p.complete AND p.pair = pair
MATCH (h:Head)-[c:CONCATENATES]->(o:State) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1
WITH h.layer AS layer, h.head AS head,
  max(CASE WHEN p.id = first THEN c.contribution END) AS clean,
  max(CASE WHEN p.id = second THEN c.contribution END) AS own,
  max(CASE WHEN p.id = second THEN c.foil_contribution END) AS foil,
  max(CASE WHEN p.id = first THEN p.target_id END) AS wanted,
  max(CASE WHEN p.id = second THEN p.target_id END) AS second_target,
  max(CASE WHEN p.id = second THEN coalesce(p.foil_id, -1) END) AS second_foil,
  max(CASE WHEN p.id = first THEN h.target_rank END) AS clean_rank,
  max(CASE WHEN p.id = second THEN h.target_rank END) AS corrupted_rank,
  max(CASE WHEN p.id = first THEN h.top_token END) AS clean_token,
  max(CASE WHEN p.id = second THEN h.top_token END) AS corrupted_token
WITH layer, head, clean, clean_rank, corrupted_rank, clean_token, corrupted_token,
  CASE WHEN second_target <> wanted AND second_foil = wanted THEN foil ELSE own END AS corrupted
WHERE clean IS NOT NULL AND corrupted IS NOT NULL
RETURN layer, head, clean, corrupted, corrupted - clean AS change, clean_rank, corrupted_rank, clean_token, corrupted_token
ORDER BY abs(corrupted - clean) DESC, layer, head LIMIT $limit

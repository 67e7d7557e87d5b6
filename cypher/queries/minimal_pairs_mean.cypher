// minimal_pairs_mean
// What changes between clean and corrupted prompts, averaged over all minimal pairs: heads, largest change first.
//
// Both effects are those on the clean prompt's target, as its logit would change if the head came from the corrupted
// prompt; where that token is neither the corrupted prompt's target nor its foil, the corrupted effect is that on its own
// target. A pair whose prompts have no roles takes the first stored as the clean one.
//
// topic: comparison
// parameters:
//   limit: int = 50, 1.. - rows
// columns:
//   layer - layer of the head
//   head - the head
//   mean_change - mean direct effect on the logit of the clean prompt's target: corrupted less clean
//   mean_clean - mean in the clean prompts
//   mean_corrupted - mean in the corrupted prompts
//   pairs - pairs compared
MATCH (p:Prompt) WHERE p.complete AND p.pair IS NOT NULL /* selection of p */
WITH p.pair AS pair, coalesce(min(CASE WHEN p.role = 'clean' THEN p.id END), min(p.id)) AS first,
  coalesce(max(CASE WHEN p.role = 'corrupted' THEN p.id END), max(p.id)) AS second
WHERE first <> second
MATCH (p:Prompt) WHERE p.complete AND p.pair = pair
MATCH (h:Head)-[c:CONCATENATES]->(o:State) WHERE h.prompt = p.id AND h.position = p.n_tokens - 1
WITH pair, h.layer AS layer, h.head AS head,
  max(CASE WHEN p.id = first THEN c.contribution END) AS clean,
  max(CASE WHEN p.id = second THEN c.contribution END) AS own,
  max(CASE WHEN p.id = second THEN c.foil_contribution END) AS foil,
  max(CASE WHEN p.id = first THEN p.target_id END) AS wanted,
  max(CASE WHEN p.id = second THEN p.target_id END) AS second_target,
  max(CASE WHEN p.id = second THEN coalesce(p.foil_id, -1) END) AS second_foil
WITH pair, layer, head, clean,
  CASE WHEN second_target <> wanted AND second_foil = wanted THEN foil ELSE own END AS corrupted
WHERE clean IS NOT NULL AND corrupted IS NOT NULL
WITH layer, head, avg(clean) AS mean_clean, avg(corrupted) AS mean_corrupted, count(*) AS pairs
RETURN layer, head, mean_corrupted - mean_clean AS mean_change, mean_clean, mean_corrupted, pairs
ORDER BY abs(mean_corrupted - mean_clean) DESC, layer, head LIMIT $limit

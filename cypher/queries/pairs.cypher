// pairs
// The minimal pairs of a store: their clean and corrupted prompts.
//
// A pair whose prompts have no roles takes the first stored as the clean one.
//
// topic: comparison
// parameters:
//   limit: int = 1000, 1.. - rows
// columns:
//   pair - name of the pair
//   clean - id of the clean prompt
//   corrupted - id of the corrupted prompt
//   clean_target - target of the clean prompt
//   corrupted_target - target of the corrupted prompt
//   clean_text - the clean prompt
//   corrupted_text - the corrupted prompt
MATCH (p:Prompt) WHERE p.complete AND p.pair IS NOT NULL /* selection of p */
WITH p.pair AS pair, coalesce(min(CASE WHEN p.role = 'clean' THEN p.id END), min(p.id)) AS first,
  coalesce(max(CASE WHEN p.role = 'corrupted' THEN p.id END), max(p.id)) AS second
WHERE first <> second
MATCH (p:Prompt) WHERE p.complete AND p.pair = pair
RETURN pair, first AS clean, second AS corrupted,
  min(CASE WHEN p.id = first THEN p.target END) AS clean_target,
  min(CASE WHEN p.id = second THEN p.target END) AS corrupted_target,
  min(CASE WHEN p.id = first THEN p.text END) AS clean_text,
  min(CASE WHEN p.id = second THEN p.text END) AS corrupted_text
ORDER BY pair LIMIT $limit

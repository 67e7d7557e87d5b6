MATCH (p:Prompt) WHERE p.id = $prompt
MATCH (a:State)-[:NORMALIZES]->(b:State)
WHERE a.id >= $prompt * 16777216 AND a.id < ($prompt + 1) * 16777216 AND a.position = p.n_tokens - 1
RETURN b.layer AS layer, b.kind AS kind,
  [x IN b.top_tokens WHERE NOT x IN a.top_tokens] AS entering,
  [x IN a.top_tokens WHERE NOT x IN b.top_tokens] AS leaving,
  a.entropy AS entropy_before, b.entropy AS entropy_after, a.target_rank AS target_rank_before,
  b.target_rank AS target_rank_after
ORDER BY layer, kind

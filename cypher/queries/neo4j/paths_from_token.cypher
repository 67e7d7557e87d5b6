MATCH (v:Value)-[s:SUMS]->(h:Head)-[way:CONCATENATES|PROJECTS|ADDS|SKIPS|NORMALIZES*1..15]->(f:State)
WHERE v.id >= $prompt * 16777216 AND v.id < ($prompt + 1) * 16777216 AND v.source = $source AND s.score >= $minimum
  AND f.id >= $prompt * 16777216 AND f.id < ($prompt + 1) * 16777216 AND f.kind = 'final_norm'
  AND all(r IN way WHERE r.score >= $minimum)
RETURN v.layer AS layer, v.head AS head, size(way) + 1 AS steps, v.top_token AS value_token,
  v.target_rank AS target_rank
ORDER BY layer DESC, head, steps LIMIT $limit

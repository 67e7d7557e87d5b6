MATCH (p:Prompt) WHERE p.complete /* selection of p */
RETURN p.id AS prompt, p.n_tokens AS tokens, p.n_state AS states, p.n_relationship AS relationships,
  p.n_state * 1300 + p.n_relationship * 98 AS bytes, p.keep AS keep, p.text AS text
ORDER BY bytes DESC, prompt LIMIT $limit

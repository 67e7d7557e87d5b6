// sizes
// States, relationships and bytes of each prompt, largest first.
//
// The bytes are an estimate from the counts: what a vector and a relationship take in this kind of store on average.
//
// topic: store
// parameters:
//   limit: int = 1000, 1.. - rows
// columns:
//   prompt - id of the prompt
//   tokens - its tokens
//   states - vectors stored
//   relationships - relationships stored
//   bytes - about how many bytes they take
//   keep - what was stored: full, or a part
//   text - the prompt
MATCH (p:Prompt) WHERE p.complete /* selection of p */
RETURN p.id AS prompt, p.n_tokens AS tokens, p.n_state AS states, p.n_relationship AS relationships,
  p.n_state * 560 + p.n_relationship * 33 AS bytes, p.keep AS keep, p.text AS text
ORDER BY bytes DESC, prompt LIMIT $limit

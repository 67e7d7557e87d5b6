// prompts
// The prompts of a store with their targets and predictions.
//
// topic: store
// parameters:
//   limit: int = 1000, 1.. - rows
// columns:
//   prompt - id of the prompt
//   text - the prompt
//   dataset - its data set
//   group - its group
//   pair - its minimal pair
//   role - clean or corrupted, in a pair
//   target - the token asked about
//   foil - the token to compare with
//   predicted - what the model predicts
//   target_prob - the model's probability of the target
//   target_rank - the target's rank in the prediction
//   correct - whether the prediction is the target
//   keep - what was stored of it
//   note - what a reader must know
MATCH (p:Prompt) WHERE p.complete /* selection of p */
RETURN p.id AS prompt, p.text AS text, p.dataset AS dataset, p.`group` AS `group`, p.pair AS pair, p.role AS role,
  p.target AS target, p.foil AS foil, p.predicted AS predicted, p.target_prob AS target_prob,
  p.target_rank AS target_rank, p.correct AS correct, p.keep AS keep, p.note AS note
ORDER BY prompt LIMIT $limit

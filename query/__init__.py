"""Questions and answers on a store: plain records, no figures."""

"""The logit lens: vectors to tokens, exactly and fast."""

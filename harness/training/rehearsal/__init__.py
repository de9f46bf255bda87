"""The rehearsal: the whole loop once on a few prompts' tokens, before anything is sampled."""

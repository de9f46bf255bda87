"""Generation engines: what turns prompts into completions."""

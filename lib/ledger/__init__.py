"""One LLM call's money: reserved before it leaves, settled to its real cost after."""

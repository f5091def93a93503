"""Google: how its keys are checked, and how the Gemini API's requests, answers and errors are read."""

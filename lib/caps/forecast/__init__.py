"""What will be spent: when a cap is reached, what a month will have cost, and how good both have been."""

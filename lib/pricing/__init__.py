"""What a call costs: amounts, the price table and the operator's price file."""

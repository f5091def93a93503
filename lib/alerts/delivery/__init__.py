"""How alerts reach people: one delivery for each recipient, taken by one sender each."""

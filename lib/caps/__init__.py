"""What a project may spend of platform money: rolling windows, plans and their reading for pages."""

"""Spend > Overview: what deserves attention, the projects, and the first steps."""

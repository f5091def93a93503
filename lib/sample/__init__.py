"""Sample data: projects with weeks of made-up usage, to look around in."""

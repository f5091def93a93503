"""What the environment of a process holds, beside the settings themselves: addresses, certificates, keys in plain sight."""

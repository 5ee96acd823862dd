"""Updates of the application over the air, the host's part: what is sent, to whom, and how far each board is."""

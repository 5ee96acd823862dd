"""Flash boards: MicroPython images, their checks, and what writes them and the application to many boards at once."""

"""Encoders whose late blocks sleep trains: where they are cut, what their maps are kept as, what is trained."""

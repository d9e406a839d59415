"""The pool of dreamers."""

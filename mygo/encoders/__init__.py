"""Encoders: pretrained, frozen networks that turn a picture, a text or a vector into a feature vector."""

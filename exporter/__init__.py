"""Quantize a network to int8, split it into frozen and trained blocks, plan its memory and write it for the board."""

"""Readers: file formats of recordings and annotations; no study itself."""

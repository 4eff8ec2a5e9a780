"""Readers: file formats of recordings and annotations. Contains no study."""

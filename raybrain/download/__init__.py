"""Download: from public hosts to a folder, resumable and checked. Knows nothing of studies."""

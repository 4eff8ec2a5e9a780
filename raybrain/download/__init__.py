"""Download: copy files from public hosts into a folder, resumably and verified. Knows nothing about studies."""

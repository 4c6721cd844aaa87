"""Parts that several KV policies share: blocks, clusters, frames, windows, quantisation."""

"""PyTorch: named fused backends, and plain operations to compare with."""

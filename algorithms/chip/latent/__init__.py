"""Multi-head latent attention as launches in four orders, and its fused core."""

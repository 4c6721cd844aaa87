"""Vision transformers on an FPGA: a streaming attention kernel beside a linear kernel that all other layers share.

The pattern is that of UbiMoE (Dong et al., arXiv:2502.05602); loop bounds and buffers are those of its published
high-level synthesis sources (github.com/DJ000011/UbiMoE, commits a556d27 and 166c8b6).
"""

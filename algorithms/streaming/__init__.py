"""The four streaming-dataflow variants of scaled dot-product attention."""

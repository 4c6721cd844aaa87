"""The attention graphs of DAM, the Dataflow Abstract Machine, with the timing of DAM's units.

DAM (Zhang et al., ISCA 2024; https://github.com/stanford-ppl/DAM-RS) is the simulator behind the streaming-dataflow
attention of Sohn, Zhang and Olukotun (arXiv:2404.16629). These graphs give its cycle counts exactly, deadlocks
included. Its units differ from those of `algorithms.streaming`: they hold a result instead of waiting to start
(``issue="hold"``), keep the left row of a product and the divisor of a row themselves, and repeat tokens in no time.
"""

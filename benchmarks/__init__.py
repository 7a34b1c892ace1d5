"""Timings of seqloom beside its rivals, on the same work, alternating in one run: `make bench`, `python -m benchmarks`.

rows         a result as a row; files of rows, and the table printed from them
work         the works W and C: real data where it is at hand, generated data of the same shape where not
windows      the measured process's side of a contest: work in windows, on demand
contest      processes that take turns: windows, medians, spreads
ours         seqloom in such a process
peers/       each rival: how it is installed, told what to do, and made to work in windows
rivals       which of them there are
environments an environment of its own for each rival, all with the torch that seqloom runs on
settings     how long, how often and on what they measure
floor        what the matrix products of an update cost by themselves
training, prediction, scale   the three suites

Beside them, scripts for a quick look at one part: kernels, onnx_step; for one GPU: gpu; courses of training in several
ways: curves; training on millions of pairs: scale_training.
"""

"""TensorRT: which file and which options build an engine by version, and what its tools print, read and judged by the host.

Pure functions, no processes; what reaches a device is ``connection``.
"""

"""TensorRT: which file and which flags build an engine by version, and what its tools print, read by the host."""

"""What quantization and export must agree on to the bit, without importing one another: the bounds of a weight's scale."""

LEAST_SCALE = 1e-8  # a zero or denormal scale would turn a whole layer into NaN; of our choosing
BIAS_BITS = 30  # |bias / (s_x * s_w)| stays below 2**30, inside int32 with room for the sum

// Which int8 file suits this CPU.
#pragma once

namespace edgekd {

// True on x86 without VNNI or AMX: onnxruntime sums u8 x s8 products there in 16 bits that saturate, so that the file with
// 7-bit weights (ort-w7) is the right one. System files are read below $EDGEKD_DEVICE_ROOT when that is set.
bool needs_seven_bit_weights();

}  // namespace edgekd

// What an engine file says of itself before TensorRT loads it.
#pragma once

#include <string>

namespace edgekd {

// Throws Problem "device" with a plain word when the file is no engine, or was built by another TensorRT than `running`
// ("10.3.0"). Files of TensorRT 8 do not promise where their version stands: those pass, and TensorRT itself judges them.
void check_plan(const std::string& content, const std::string& path, const std::string& running);

// "10.3.0" from TensorRT's version number: 100300, or 8502 before 10.
std::string version_text(int number);

}  // namespace edgekd

// Text of any frame, one line per layer: for explain, test failures and people. Never reads outside
// the bytes given, whatever they are; what is malformed is said so and ends the text.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

namespace vrouter {

std::string print_frame(const uint8_t* p, size_t n);  // from its Ethernet header
// Of which only the first `kept` bytes are known: nothing is said of checksums over the others.
std::string print_frame(const uint8_t* p, size_t n, size_t kept);
std::string print_packet(const uint8_t* p, size_t n);  // from its IP header, either family

}  // namespace vrouter

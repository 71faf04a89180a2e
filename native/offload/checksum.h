// Transport checksums that a frame left undone (Packet::offload.checksum): the field holds the
// pseudo header's sum, what is missing is the sum of all bytes from the transport header on.
#pragma once
#include "packet/packet.h"

namespace vrouter {

// Finishes the checksum in place and clears the flag; nothing to do is fine. False: the offload's
// offsets point outside of the frame, which is left as it was. A super-packet is refused: its
// segments have a checksum each (offload/segment.h).
bool complete_checksum(Packet& packet);

}  // namespace vrouter
